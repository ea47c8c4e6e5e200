"""What browsers say to the gateway: their JSON to a command or a refusal.

Pure: no socket, no loop, no clock; limits are arguments.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from eventlog import Position, is_pattern

__all__ = [
    "DEFAULT_LIMITS",
    "DEFAULT_TYPES",
    "NOWHERE",
    "Auth",
    "Code",
    "Command",
    "Limits",
    "Ping",
    "Query",
    "Refusal",
    "RequestId",
    "Subscribe",
    "Unsubscribe",
    "parse",
    "parse_last_event_id",
    "parse_query",
    "subscriptions_after",
]

DEFAULT_TYPES: Final = (
    "system.status",
    "storage.update",
    "agent.status",
    "compression.update",
    "notification",
    "rpc_error",
    "connection_error",
    "heartbeat",
)
"""What a client is subscribed to that asks for nothing else."""

RequestId: TypeAlias = str | int | float
"""What a request may carry as `id`, to find it again in the answer."""


class Code(StrEnum):
    """What was wrong with a request."""

    INVALID_JSON = "INVALID_JSON"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    INVALID_SUBSCRIPTION = "INVALID_SUBSCRIPTION"
    TOO_MANY_SUBSCRIPTIONS = "TOO_MANY_SUBSCRIPTIONS"
    RATE_LIMITED = "RATE_LIMITED"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a request may hold."""

    depth: int = 16
    """Objects and lists inside one another: a command needs three; without a bound the parser's stack is the bound."""
    values: int = 1024
    """Commas and opening brackets, wherever they stand: 64 KiB of tiny values take 6 ms to read, plain text 0.1."""
    number_chars: int = 64
    """Characters of one number: turning digits into a number takes time that grows with their square."""
    id_chars: int = 128
    """Characters of a text id: it is sent back."""
    subscriptions: int = 64
    """Types and patterns of one client: each is looked at when a type is seen for the first time."""


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants a pong."""

    id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Wants these types and patterns too."""

    types: tuple[str, ...]
    """Each once, in the order of the request."""
    id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """No longer wants these types and patterns."""

    types: tuple[str, ...]
    id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """Shows a token: the first one, or a new one before the old one expires."""

    token: str = field(repr=False)  # never in a log
    id: RequestId | None = None


Command: TypeAlias = Ping | Subscribe | Unsubscribe | Auth


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that cannot be taken; the connection stays."""

    code: Code
    message: str
    """For people, in ASCII."""
    id: RequestId | None = None
    """The request's own, as far as it could be read. None: it had none."""


class _BadJsonError(ValueError):
    """JSON that the standard parser would take, and we do not."""


def parse(text: str, limits: Limits = DEFAULT_LIMITS) -> Command | Refusal:
    """What a text message asks for. Takes any text whatever, and never raises."""
    try:
        message = _load(text, limits)
    except _BadJsonError as mistake:
        return Refusal(Code.INVALID_JSON, str(mistake))
    except ValueError:  # JSONDecodeError and UnicodeEncodeError are of this kind
        return Refusal(Code.INVALID_JSON, "this is not JSON")
    if not isinstance(message, dict):
        return Refusal(Code.INVALID_MESSAGE, "a message is a JSON object")
    request_id = None
    if "id" in message:
        request_id = message["id"]
        if not _is_request_id(request_id, limits):
            return Refusal(Code.INVALID_MESSAGE, f"id is a number or a string of at most {limits.id_chars} characters")
    kind = message.get("type")
    if not isinstance(kind, str):
        return Refusal(Code.INVALID_MESSAGE, "a message has a type, which is a string", request_id)
    if not isinstance(message.get("data", {}), dict):
        return Refusal(Code.INVALID_MESSAGE, "data is an object", request_id)
    read = _COMMANDS.get(kind)
    if read is None:
        return Refusal(Code.UNKNOWN_TYPE, f"{_quoted(kind)} is none of {', '.join(_COMMANDS)}", request_id)
    return read(message, request_id)


def subscriptions_after(
    subscriptions: Iterable[str], command: Subscribe | Unsubscribe, limits: Limits = DEFAULT_LIMITS
) -> tuple[str, ...] | Refusal:
    """A client's types and patterns after the command, sorted. A refusal changes nothing.

    Unsubscribing takes away exactly the names given: `agent.*` does not take `agent.status` away. Unknown ones are
    ignored, since a client that asks twice has what it wants.
    """
    if isinstance(command, Unsubscribe):
        return tuple(sorted(set(subscriptions).difference(command.types)))
    after = set(subscriptions).union(command.types)
    if len(after) > limits.subscriptions:
        return _too_many(len(after), limits, command.id)
    return tuple(sorted(after))


# --- how a connection begins


@dataclass(frozen=True, slots=True)
class Query:
    """What the address of a connection asks for."""

    resume: Position | None
    """Resume after this position. None: not asked for. NOWHERE: asked for, but unreadable."""
    types: tuple[str, ...] | None
    """Types and patterns, sorted. None: the default ones."""
    snapshot: bool
    """Whether the latest states are wanted at the beginning."""


_MAX_SEQ = 2**64 - 1

NOWHERE: Final = Position("", _MAX_SEQ)
"""A position that no journal holds: stands for one that could not be read, so that it is answered like one that is gone
(`recovered` false, then a snapshot) and a client with a broken memory is not locked out."""


def parse_query(pairs: Iterable[tuple[str, str]], limits: Limits = DEFAULT_LIMITS) -> Query | Refusal:
    """Reads `epoch`, `seq`, `types` and `snapshot`; other names are ignored. A bad position is no mistake: NOWHERE.

    `types` given more than once count together; of the others it could not be told which is meant: refused.
    """
    query: dict[str, str] = {}
    for name, value in pairs:
        if name not in _PARAMETERS:
            continue
        if name in query and name != "types":
            return Refusal(Code.INVALID_MESSAGE, f"{name} is given more than once")
        query[name] = f"{query[name]},{value}" if name in query else value
    snapshot = _FLAGS.get(query.get("snapshot", "1"))
    if snapshot is None:
        return Refusal(Code.INVALID_MESSAGE, "snapshot is 0 or 1")
    resume = None
    if "epoch" in query or "seq" in query:
        resume = _position(query.get("epoch", ""), query.get("seq", ""))
    if "types" not in query:
        return Query(resume, None, snapshot)
    types = query["types"].split(",")
    refusal = _check_types(types, None)
    if refusal is not None:
        return refusal
    if len(set(types)) > limits.subscriptions:
        return _too_many(len(set(types)), limits, None)
    return Query(resume, tuple(sorted(set(types))), snapshot)


def parse_last_event_id(text: str) -> Position:
    """Reads `epoch.seq`, the id of our Server-Sent Events. Anything else is NOWHERE."""
    epoch, _, seq = text.rpartition(".")
    return _position(epoch, seq)


_PARAMETERS = frozenset({"epoch", "seq", "types", "snapshot"})
_FLAGS = {"0": False, "false": False, "1": True, "true": True}
_SEQ = re.compile(r"[0-9]{1,20}")  # 2^64 has 20 digits


def _position(epoch: str, seq: str) -> Position:
    if _SEQ.fullmatch(seq) is None or int(seq) > _MAX_SEQ:
        return NOWHERE
    return Position(epoch, int(seq))


# --- reading JSON strictly

_NO_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^"\[\]{}]++', re.DOTALL)  # possessive: nothing makes it go back


def _load(text: str, limits: Limits) -> Any:
    """JSON as RFC 8259 has it, which json.loads alone is not strict about. ValueError: it is not."""
    brackets = text.count("[") + text.count("{")
    if brackets + text.count(",") > limits.values:
        raise _BadJsonError(f"there are more than {limits.values} values in it")
    if brackets > limits.depth:
        _check_depth(text, limits.depth)

    def number(parse_number: Callable[[str], Any]) -> Callable[[str], Any]:
        def parse_bounded(digits: str) -> Any:
            if len(digits) > limits.number_chars:
                raise _BadJsonError(f"a number has more than {limits.number_chars} characters")
            value = parse_number(digits)
            if math.isinf(value):
                raise _BadJsonError("a number is too large")
            return value

        return parse_bounded

    value = json.loads(
        text,
        parse_int=number(int),
        parse_float=number(float),
        parse_constant=_refuse_constant,
        object_pairs_hook=_object_without_duplicates,
    )
    text.encode()
    if "\\u" in text:  # an escape may have made half a surrogate pair, which nobody could encode again
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _check_depth(text: str, limit: int) -> None:
    """Finds what is nested too deep before the parser goes there: every round takes the innermost pairs away."""
    brackets = _NO_BRACKETS.sub("", text).replace("{", "[").replace("}", "]")
    for _ in range(limit):
        brackets = brackets.replace("[]", "")
    if brackets:
        raise _BadJsonError(f"objects and lists are more than {limit} deep, or not closed")


def _refuse_constant(name: str) -> None:
    raise _BadJsonError(f"{name} is not JSON")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _BadJsonError("an object has a name twice")
    return members


# --- reading commands


def _ping(_message: dict[str, Any], request_id: RequestId | None) -> Command | Refusal:
    return Ping(request_id)


def _subscribe(message: dict[str, Any], request_id: RequestId | None) -> Command | Refusal:
    types = _types(message, request_id)
    return types if isinstance(types, Refusal) else Subscribe(types, request_id)


def _unsubscribe(message: dict[str, Any], request_id: RequestId | None) -> Command | Refusal:
    types = _types(message, request_id)
    return types if isinstance(types, Refusal) else Unsubscribe(types, request_id)


def _auth(message: dict[str, Any], request_id: RequestId | None) -> Command | Refusal:
    token = message.get("data", {}).get("token")
    if not isinstance(token, str):
        return Refusal(Code.INVALID_MESSAGE, "data.token is a string", request_id)
    return Auth(token, request_id)


_COMMANDS: Mapping[str, Callable[[dict[str, Any], RequestId | None], Command | Refusal]] = {
    "ping": _ping,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "auth": _auth,
}


def _types(message: dict[str, Any], request_id: RequestId | None) -> tuple[str, ...] | Refusal:
    """The names in data.types, data.events and top-level types: all of them, where there is more than one list."""
    data = message.get("data", {})
    lists = [holder[name] for holder, name in ((data, "types"), (data, "events"), (message, "types")) if name in holder]
    if not all(isinstance(types, list) for types in lists):
        return Refusal(Code.INVALID_SUBSCRIPTION, "types is a list of strings", request_id)
    types = [name for types in lists for name in types]
    return _check_types(types, request_id) or tuple(dict.fromkeys(types))


def _check_types(types: list[Any], request_id: RequestId | None) -> Refusal | None:
    if not types:
        return Refusal(Code.INVALID_SUBSCRIPTION, "no types are given", request_id)
    for name in types:
        if not isinstance(name, str):
            return Refusal(Code.INVALID_SUBSCRIPTION, "types is a list of strings", request_id)
        if not is_pattern(name):
            return Refusal(Code.INVALID_SUBSCRIPTION, f"{_quoted(name)} is no type or pattern", request_id)
    return None


def _too_many(count: int, limits: Limits, request_id: RequestId | None) -> Refusal:
    message = f"that would make {count} subscriptions; {limits.subscriptions} are allowed"
    return Refusal(Code.TOO_MANY_SUBSCRIPTIONS, message, request_id)


def _is_request_id(value: Any, limits: Limits) -> bool:
    if isinstance(value, str):
        return len(value) <= limits.id_chars
    if isinstance(value, int):  # a bool is one too; what 64 bits do not hold could not be sent back
        return not isinstance(value, bool) and -(2**63) <= value < 2**64
    return isinstance(value, float)


def _quoted(text: str) -> str:
    """Text of a client's in a message of ours: short, printable, in ASCII."""
    return f"{text[:64]!a}" + ("..." if len(text) > 64 else "")
