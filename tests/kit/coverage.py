"""The rule that matters most: every event came, or its loss was told. Compares a history with what there was. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.kit.shape import Violation
from tests.kit.stream import (
    DEFAULT_TYPES,
    History,
    KeyOf,
    Message,
    Position,
    data_of,
    is_live,
    is_notice,
    is_snapshot,
    is_state,
    matches,
    state_key,
    steps,
)

__all__ = ["gapless", "numbered_label", "published_once", "told_lost", "told_superseded"]

_Event = tuple[str, int]
"""(epoch, seq)"""

_EVER = 1 << 62
"""Higher than any number."""


@dataclass(frozen=True)
class _Owed:
    """The client is owed the events after `after` up to `through` that its patterns take."""

    epoch: str
    after: int
    through: int
    patterns: frozenset[str]
    before: tuple[frozenset[str], ...]
    """What it had been subscribed to before (each time, if that changed again before any live event came): other types
    are owed only after `settled`, where the change surely held."""
    settled: int

    def covers(self, epoch: str, seq: int, kind: str) -> bool:
        if epoch != self.epoch or not self.after < seq <= self.through or not matches(self.patterns, kind):
            return False
        return all(matches(patterns, kind) for patterns in self.before) or seq > self.settled


@dataclass
class _Told:
    """The client was told that this many events in (after, through] did not come."""

    epoch: str
    after: int
    through: int
    lost: int
    superseded: int

    def excuses(self, epoch: str, seq: int) -> bool:
        return epoch == self.epoch and self.after < seq <= self.through


def told_lost(history: History) -> int:
    """How many log events the client was told were lost, in all."""
    return sum(_count(message, "lost") for _, message in history)


def told_superseded(history: History) -> int:
    """How many state events the client was told were superseded, in all."""
    return sum(_count(message, "superseded") for _, message in history)


def gapless(
    history: History,
    reference: History,
    *,
    start: Position | None = None,
    until: Position | None = None,
    cut_short: bool = False,
    key_of: KeyOf = state_key,
) -> list[Violation]:
    """Every event that an undisturbed client received (`reference`), and this one was owed, came or was told missing.

    `start`: the position that it first connected with, if it resumed one. `until`: it must have received everything up
    to here; None: up to its own last live event, so that what is missing at the very end is not found. A log event may
    be missing only within what was told lost; a state event only within what was told superseded and only if a later
    event of the same state came (or, after a position that could not be recovered, a snapshot of it; or it was to come
    after the client's last event of a journal that was lost then).

    `cut_short`: its connections may have ended while it was behind. What was superseded it is told once it has caught
    up; so at the end of a connection that was followed by another, a later event of the same state is enough.
    """
    owed = list(_owed(history, start, until))
    told = sorted(_told(history, start), key=lambda window: window.through)
    ends = list(_ends(history))
    left: dict[str, int] = {}  # the last live event of every journal but the one that it was in at the end
    for end in ends:
        if end.epoch != owed[-1].epoch:
            left[end.epoch] = max(end.through, left.get(end.epoch, 0))
    seen: set[_Event] = set()
    latest: dict[tuple[str, str, str], int] = {}
    snapshots: dict[tuple[str, str, str], int] = {}
    for step in steps(history):
        seq = step.message.get("seq")
        if step.epoch is None or not isinstance(seq, int):
            continue
        seen.add((step.epoch, seq))
        key = key_of(step.message)
        if key is not None:
            place = (step.epoch, *key)
            latest[place] = max(seq, latest.get(place, 0))
            if is_snapshot(step.message):
                snapshots[place] = max(seq, snapshots.get(place, 0))

    missing: dict[_Event, Message] = {}
    newest: dict[tuple[str, str, str], int] = {}
    for step in steps(reference):
        message = step.message
        if step.epoch is None or not is_live(message):
            continue
        key = key_of(message)
        if key is not None:
            place = (step.epoch, *key)
            newest[place] = max(message["seq"], newest.get(place, 0))
        if (step.epoch, message["seq"]) in seen:
            continue
        if any(segment.covers(step.epoch, message["seq"], str(message.get("type"))) for segment in owed):
            missing[step.epoch, message["seq"]] = message

    violations: list[Violation] = []
    # logs first: what remains of a told loss then excuses states that the journal had no room for
    for (epoch, seq), message in sorted(missing.items(), key=lambda item: (is_state(item[1]), item[0])):
        key = key_of(message)
        what = f"{message.get('type')} {epoch}.{seq}"
        windows = [window for window in told if window.excuses(epoch, seq)]
        if not is_state(message):
            if not _take(windows, "lost"):
                violations.append(Violation("gapless", len(history), f"log event {what} is missing and was not told"))
            continue
        state = None if key is None else (epoch, *key)
        if state is not None and snapshots.get(state, 0) >= seq:
            continue
        superseded = state is not None and latest.get(state, 0) > seq
        if cut_short and superseded and any(end.excuses(epoch, seq) for end in ends):
            continue
        if not (_take(windows, "superseded") or _take(windows, "lost")):
            violations.append(Violation("gapless", len(history), f"state event {what} is missing and was not told"))
        elif (
            state is not None
            and latest.get(state, 0) < seq
            and newest.get(state, 0) <= left.get(epoch, _EVER)
            and not any(window.lost for window in windows)
        ):
            violations.append(
                Violation("gapless", len(history), f"{what} was the latest of its state, and nothing later came")
            )
    return violations


def numbered_label(message: Message) -> str | None:
    """For `published_once`: the text of a notification that an engine pushed (`n=123`); None for all else."""
    if message.get("type") != "notification" or not is_live(message):
        return None
    text = data_of(message).get("message")
    return text if isinstance(text, str) and text.startswith("n=") else None


def published_once(
    history: History, published: Sequence[str], label: Callable[[Message], str | None] = numbered_label
) -> list[Violation]:
    """Every label published came exactly once and in order, or its loss was told: counts add up.

    `published`: the labels of log events, in the order in which they were published while this client was owed them.
    """
    came = [(index, name) for index, (_, message) in enumerate(history) if (name := label(message)) is not None]
    order = {name: place for place, name in enumerate(published)}
    counts = Counter(name for _, name in came)
    violations: list[Violation] = []
    highest = -1
    for index, name in came:
        if name not in order:
            violations.append(Violation("published_once", index, f"{name} was never published"))
            continue
        if counts[name] > 1:
            violations.append(Violation("published_once", index, f"{name} came {counts[name]} times"))
        if order[name] < highest:
            violations.append(Violation("published_once", index, f"{name} came after {published[highest]}"))
        highest = max(highest, order[name])
    missing = [name for name in published if name not in counts]
    if len(missing) > told_lost(history):
        violations.append(
            Violation(
                "published_once",
                len(history),
                f"{len(missing)} are missing ({', '.join(missing[:10])} …), {told_lost(history)} were told lost",
            )
        )
    return violations


def _owed(history: History, start: Position | None, until: Position | None) -> Iterator[_Owed]:
    """The stretches of the journal that this client is owed, from its welcomes and acknowledgements."""
    nothing: frozenset[str] = frozenset()
    epoch, patterns, last = "", nothing, 0
    segment: _Owed | None = None
    unsettled = False
    for step in steps(history):
        message, data = step.message, data_of(step.message)
        if is_notice(message):
            resume = data_of({"data": data.get("resume")})
            at = int(data.get("seq", 0))
            known = segment is not None or start is not None
            previous = Position(epoch, last) if segment is not None else start
            goes_on = (
                known
                and resume.get("requested") is True
                and previous is not None
                and previous.epoch == step.epoch
                and previous.seq <= at
            )
            after = previous.seq if goes_on and previous is not None else at
            if segment is not None:
                yield replace(segment, through=last)
            epoch, last = step.epoch or "", after
            patterns = frozenset(data.get("subscriptions", DEFAULT_TYPES))
            segment = _Owed(epoch, after, after, patterns, (), after)
            unsettled = False
        elif segment is None:
            continue
        elif message.get("type") in ("subscribe", "unsubscribe"):
            yield replace(segment, through=last)
            now = frozenset(data.get("subscriptions") or ())
            before = (*segment.before, patterns) if unsettled else (patterns,)
            segment = _Owed(epoch, last, last, now, before, last)
            patterns, unsettled = now, True
        elif is_live(message):
            last = max(last, message["seq"])
            if unsettled:
                # the change held from here on at the latest
                segment = replace(segment, settled=last - 1)
                unsettled = False
    if segment is not None:
        if until is not None and until.epoch == epoch:
            last = max(last, until.seq)
        if unsettled:
            segment = replace(segment, settled=last)
        yield replace(segment, through=last)


def _told(history: History, start: Position | None) -> Iterator[_Told]:
    """What this client was told did not come, and where."""
    at = start
    for step in steps(history):
        message, data = step.message, data_of(step.message)
        if step.epoch is None:
            continue
        if is_notice(message):
            seq = int(data.get("seq", 0))
            after = at.seq if at is not None and at.epoch == step.epoch else seq
            lost = _count(message, "lost")
            resume = data_of({"data": data.get("resume")})
            # after a loss, and at the beginning of a new journal, it leaves the client where it stood, or begins: what
            # its counts are of comes yet
            comes_yet = resume.get("requested") is not True or (lost and after == seq)
            yield _Told(step.epoch, after, _EVER if comes_yet else seq, lost, _count(message, "superseded"))
            if resume.get("recovered") is not True or at is None or at.epoch != step.epoch:
                at = Position(step.epoch, seq)
        elif message.get("type") == "connection_error" and data.get("reason") == "behind":
            yield _Told(
                step.epoch,
                int(data.get("from_seq") or 0),
                int(data.get("to_seq") or 0),
                _count(message, "lost"),
                _count(message, "superseded"),
            )
        elif is_live(message):
            at = Position(step.epoch, message["seq"])


def _ends(history: History) -> Iterator[_Told]:
    """The ends of connections that were followed by others: from where the client had last been told everything, to
    its last live event (which may lie before that)."""
    epoch, told, last = "", 0, 0
    for step in steps(history):
        message, data = step.message, data_of(step.message)
        if is_notice(message):
            if epoch:
                yield _Told(epoch, told, last, 0, 0)
            epoch, told, last = step.epoch or "", int(data.get("seq", 0)), 0
        elif message.get("type") == "connection_error" and data.get("reason") == "behind":
            told = max(told, int(data.get("to_seq") or 0))
        elif is_live(message):
            last = max(last, message["seq"])


def _take(windows: list[_Told], name: str) -> bool:
    """Uses up one of what was told, from the window that ends first: those that end later excuse later events too."""
    for window in windows:
        left = getattr(window, name)
        if left > 0:
            setattr(window, name, left - 1)
            return True
    return False


def _count(message: Message, name: str) -> int:
    data = data_of(message)
    if is_notice(message):
        data = data_of({"data": data.get("resume")})
    elif not (message.get("type") == "connection_error" and data.get("reason") == "behind"):
        return 0
    value = data.get(name)
    return value if isinstance(value, int) else 0
