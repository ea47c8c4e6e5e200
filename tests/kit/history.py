"""Judging one client's recorded history by the contract: `check` runs every rule, each rule can be run alone. Pure.

A rule takes a history and gives the violations that it found, in order; none means that the rule holds. The words that
tests need from the parts (`stream`, `shape`, `coverage`) can be imported from here.
"""

from collections.abc import Callable, Container, Sequence

from tests.kit.coverage import gapless, numbered_label, published_once, told_lost, told_superseded
from tests.kit.shape import DOCUMENTED_CLOSE_CODES, Violation, close, fresh_or_marked, shape, welcome_first
from tests.kit.stream import (
    DEFAULT_TYPES,
    REPLY_TYPES,
    Entry,
    History,
    KeyOf,
    Message,
    Position,
    StateKey,
    data_of,
    fold,
    is_live,
    is_notice,
    is_snapshot,
    is_state,
    matches,
    position,
    state_key,
    steps,
)

__all__ = [
    "DEFAULT_TYPES",
    "DOCUMENTED_CLOSE_CODES",
    "Entry",
    "History",
    "KeyOf",
    "Message",
    "Position",
    "StateKey",
    "Violation",
    "check",
    "close",
    "data_of",
    "fold",
    "fresh_or_marked",
    "gapless",
    "is_live",
    "is_notice",
    "is_snapshot",
    "is_state",
    "matches",
    "numbered_label",
    "ordered",
    "position",
    "published_once",
    "shape",
    "snapshot_equals_fold",
    "state_key",
    "subscribed_only",
    "told_lost",
    "told_superseded",
    "unique",
    "welcome_first",
]


def ordered(history: History) -> list[Violation]:
    """The numbers of live events rise strictly within an epoch, over resumed connections too.

    After a welcome that was not asked to resume they lie after its position.
    """
    last: dict[str, int] = {}
    violations: list[Violation] = []
    for step in steps(history):
        epoch = step.epoch or ""
        if is_notice(step.message):
            data = data_of(step.message)
            if data_of({"data": data.get("resume")}).get("requested") is False and isinstance(data.get("seq"), int):
                last[epoch] = max(last.get(epoch, 0), data["seq"])
        elif is_live(step.message):
            seq = step.message["seq"]
            if seq < last.get(epoch, 0):
                violations.append(Violation("ordered", step.index, f"{epoch}.{seq} came after {last[epoch]}"))
            last[epoch] = max(last.get(epoch, 0), seq)
    return violations


def unique(history: History) -> list[Violation]:
    """No live event comes twice, over resumed connections too."""
    seen: set[tuple[str | None, int]] = set()
    violations: list[Violation] = []
    for step in steps(history):
        if is_live(step.message):
            event = (step.epoch, step.message["seq"])
            if event in seen:
                violations.append(Violation("unique", step.index, f"{event[0]}.{event[1]} came again"))
            seen.add(event)
    return violations


def subscribed_only(history: History) -> list[Violation]:
    """Every event is of a type that the client was subscribed to when it came.

    Answers, the notices about the client's position, and what tells it that it was behind need no subscription.
    """
    violations: list[Violation] = []
    for step in steps(history):
        kind = step.message.get("type")
        if step.subscriptions is None or not isinstance(kind, str) or kind in REPLY_TYPES or is_notice(step.message):
            continue
        if kind == "connection_error" and data_of(step.message).get("reason") == "behind":
            continue
        if not matches(step.subscriptions, kind):
            violations.append(Violation("subscribed_only", step.index, f"{kind} was not subscribed to"))
    return violations


def snapshot_equals_fold(
    history: History, full: History, *, except_keys: Container[StateKey] = (), key_of: KeyOf = state_key
) -> list[Violation]:
    """The snapshot that a client got on connecting is what the states add up to at its position.

    `history` begins with that client's welcome. `full` is the history of a client that was there from the start, and
    is still. `except_keys`: states that may be on one side only (jobs that the engine has forgotten).
    """
    if not history or not is_notice(history[0][1]):
        return [Violation("snapshot_equals_fold", 0, "the history does not begin with a welcome")]
    data = data_of(history[0][1])
    at = Position(str(data.get("epoch")), int(data.get("seq", 0)))
    patterns = [str(pattern) for pattern in data.get("subscriptions", [])]
    snapshot: dict[StateKey, tuple[int, Message]] = {}
    for index, (_, message) in enumerate(history[1:], start=1):
        if not is_snapshot(message):
            break
        key = key_of(message)
        if key is not None:
            snapshot[key] = (index, message)
    expected = {
        key: message for key, message in fold(full, through=at, key_of=key_of).items() if matches(patterns, key[0])
    }
    violations: list[Violation] = []
    for key in sorted({*snapshot, *expected}):
        if key in except_keys:
            continue
        if key not in snapshot:
            what = f"{key} at {expected[key]['seq']} is not in the snapshot at {at.seq}"
            violations.append(Violation("snapshot_equals_fold", len(history), what))
            continue
        index, got = snapshot[key]
        if key not in expected:
            what = f"{key} at {got['seq']} is in the snapshot at {at.seq} only"
            violations.append(Violation("snapshot_equals_fold", index, what))
        elif got["seq"] != expected[key]["seq"] or got.get("data") != expected[key].get("data"):
            what = f"{key}: the snapshot has {dict(got)}, the fold {dict(expected[key])}"
            violations.append(Violation("snapshot_equals_fold", index, what))
    return violations


def check(
    history: History,
    *,
    reference: History | None = None,
    start: Position | None = None,
    until: Position | None = None,
    published: Sequence[str] | None = None,
    label: Callable[[Message], str | None] = numbered_label,
    closed: tuple[int, str] | None = None,
    cut_short: bool = False,
    key_of: KeyOf = state_key,
) -> list[Violation]:
    """Every rule that can be judged with what is given, in the order of the history.

    `reference`, `start`, `until`, `cut_short`: see `gapless`; `published`, `label`: see `published_once`; `closed`:
    code and reason, see `close`.
    """
    violations = [
        *welcome_first(history),
        *shape(history),
        *fresh_or_marked(history),
        *ordered(history),
        *unique(history),
        *subscribed_only(history),
    ]
    if reference is not None:
        violations += gapless(history, reference, start=start, until=until, cut_short=cut_short, key_of=key_of)
    if published is not None:
        violations += published_once(history, published, label)
    if closed is not None:
        violations += close(closed[0], closed[1], after_messages=len(history))
    return sorted(violations, key=lambda violation: violation.index)
