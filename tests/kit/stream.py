"""Reading a recorded history: what is an event, of which state, in which epoch, and what does it all add up to. Pure.

A history is a sequence of (received_s, message): all that one client received, over one connection or, if it resumed,
over several, one after the other. Each connection begins with its welcome.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "DEFAULT_TYPES",
    "REPLY_TYPES",
    "STATE_TYPES",
    "UNNUMBERED_TYPES",
    "Entry",
    "History",
    "KeyOf",
    "Message",
    "Position",
    "StateKey",
    "Step",
    "data_of",
    "fold",
    "is_bridge_loss",
    "is_live",
    "is_notice",
    "is_snapshot",
    "is_state",
    "matches",
    "position",
    "state_key",
    "steps",
]

Message = Mapping[str, Any]
Entry = tuple[float, Message]
History = Sequence[Entry]
StateKey = tuple[str, str]
KeyOf = Callable[[Message], StateKey | None]

DEFAULT_TYPES = frozenset(
    {
        "system.status",
        "storage.update",
        "agent.status",
        "compression.update",
        "notification",
        "rpc_error",
        "connection_error",
        "heartbeat",
    }
)
STATE_TYPES = frozenset({"system.status", "storage.update", "agent.status", "compression.update"})
REPLY_TYPES = frozenset({"auth", "pong", "error", "subscribe", "unsubscribe"})
UNNUMBERED_TYPES = REPLY_TYPES | {"heartbeat", "connection_error"}


class Position(NamedTuple):
    """Everything up to and including `seq` of the journal `epoch` was received."""

    epoch: str
    seq: int


@dataclass(frozen=True)
class Step:
    """One message of a history, and what was known when it came."""

    index: int
    message: Message
    epoch: str | None
    """Of the last notice, this one included. None: no notice came yet."""
    subscriptions: frozenset[str] | None
    """In force for this message: of the last notice or acknowledgement before it. None: not known yet."""


def data_of(message: Message) -> Mapping[str, Any]:
    """The message's data; empty if it has none, or something else than an object."""
    data = message.get("data")
    return data if isinstance(data, Mapping) else {}


def is_notice(message: Message) -> bool:
    """Whether it is a welcome, or its repetition when the epoch changed."""
    data = data_of(message)
    return message.get("type") == "notification" and "resume" in data and "client_id" in data


def is_snapshot(message: Message) -> bool:
    """Whether it was sent because the client just connected or subscribed."""
    return message.get("snapshot") is True


def is_live(message: Message) -> bool:
    """Whether it is an event of the journal sent in its turn (replayed ones included)."""
    return isinstance(message.get("seq"), int) and not is_snapshot(message)


def is_state(message: Message) -> bool:
    """Whether it replaces the one before it: a core state type, or a type of the engine's own with freshness."""
    kind = message.get("type")
    return kind in STATE_TYPES or (kind not in DEFAULT_TYPES and "stale" in data_of(message))


def is_bridge_loss(message: Message) -> bool:
    """Whether the gateway made it because the bridge was away: such events have no number."""
    data = data_of(message)
    if data.get("error_code") != "BRIDGE_DISCONNECT":
        return False
    return message.get("type") == "rpc_error" or data.get("stale") is True


def state_key(message: Message) -> StateKey | None:
    """Which state it is of. None: a log event, or a state of the engine's own type, whose key JSON does not show."""
    kind = message.get("type")
    if kind == "compression.update":
        job = data_of(message).get("job_id")
        return kind, job if isinstance(job, str) else "queue"
    return (kind, "current") if isinstance(kind, str) and kind in STATE_TYPES else None


def matches(patterns: Iterable[str], kind: str) -> bool:
    """Whether one of the types and patterns (`agent.*`: everything below agent; `*`) takes this type."""
    return any(
        pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1])) for pattern in patterns
    )


def steps(history: History) -> Iterator[Step]:
    """The messages one by one, with the epoch and the subscriptions at each."""
    epoch: str | None = None
    subscriptions: frozenset[str] | None = None
    for index, (_, message) in enumerate(history):
        data = data_of(message)
        if is_notice(message) and isinstance(data.get("epoch"), str):
            epoch = data["epoch"]
        yield Step(index, message, epoch, subscriptions)
        if is_notice(message) or message.get("type") in ("subscribe", "unsubscribe"):
            told = data.get("subscriptions")
            if isinstance(told, list):
                subscriptions = frozenset(str(item) for item in told)


def position(history: History, *, start: Position | None = None) -> Position | None:
    """After which position a client with this history resumes. `start`: the one that it connected with, if any.

    It is the last live event's; after a notice that did not recover, the notice's own until the next live event.
    """
    at = start
    for step in steps(history):
        if step.epoch is None:
            continue
        if is_notice(step.message):
            data = data_of(step.message)
            recovered = data_of({"data": data.get("resume")}).get("recovered") is True
            if not recovered or at is None or at.epoch != step.epoch:
                at = Position(step.epoch, int(data.get("seq", 0)))
        elif is_live(step.message):
            at = Position(step.epoch, step.message["seq"])
    return at


def fold(history: History, *, through: Position | None = None, key_of: KeyOf = state_key) -> dict[StateKey, Message]:
    """The latest numbered event of each state, live or snapshot. `through`: of this epoch, up to this number, only.

    None: of the last epoch in the history.
    """
    walked = list(steps(history))
    epoch = through.epoch if through is not None else (walked[-1].epoch if walked else None)
    states: dict[StateKey, Message] = {}
    for step in walked:
        seq = step.message.get("seq")
        if step.epoch != epoch or not isinstance(seq, int) or (through is not None and seq > through.seq):
            continue
        key = key_of(step.message)
        if key is not None and (key not in states or states[key]["seq"] <= seq):
            states[key] = step.message
    return states
