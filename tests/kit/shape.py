"""Rules about single messages and the end of a connection: shape, freshness, close code. Pure."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.kit.stream import (
    UNNUMBERED_TYPES,
    History,
    Message,
    data_of,
    is_bridge_loss,
    is_notice,
    is_snapshot,
    is_state,
)

__all__ = ["DOCUMENTED_CLOSE_CODES", "Violation", "close", "fresh_or_marked", "shape", "welcome_first"]

DOCUMENTED_CLOSE_CODES = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1009, 1011, 1012, 1013, 4403, 4408, 4429, 4500, 4501, 4503}
)
"""1000 is the server's echo of a client's own close."""

_STALE_CODES = frozenset({"RPC_DISCONNECT", "CIRCUIT_BREAKER_OPEN", "BRIDGE_DISCONNECT"})
_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_RETRY_AFTER = re.compile(r"retry_after_ms\D{0,4}\d+")

# Data that must be a number, or null where it is not known: by type, the path to it; [] goes into each item.
_JOB = (
    "progress",
    "bytes_processed",
    "bytes_total",
    "compression_ratio",
    "elapsed_seconds",
    "eta_seconds",
    "timestamp",
)
_NUMBERS: dict[str, tuple[str, ...]] = {
    "system.status": (
        "uptime",
        "cpu_usage",
        "memory_used",
        "memory_total",
        "memory_pct",
        "load_average.[]",
        "timestamp",
    ),
    "storage.update": (
        *(
            f"pools.[].{name}"
            for name in ("size", "allocated", "free", "capacity_pct", "read_errors", "write_errors", "checksum_errors")
        ),
        "timestamp",
    ),
    "agent.status": (
        *(
            f"agents.[].{name}"
            for name in (
                "last_active",
                "tasks_completed",
                "success_rate",
                "memory_usage",
                "average_latency",
                "task_progress",
            )
        ),
        "total_agents",
        "active_agents",
        "idle_agents",
        "error_agents",
        "timestamp",
    ),
    "compression.update": (
        *_JOB,
        *(f"jobs.[].{name}" for name in _JOB),
        "total_running",
        "total_pending",
        "total_jobs",
    ),
    "notification": ("timestamp", "seq", "heartbeat_s", "resume.replayed", "resume.superseded", "resume.lost"),
    "rpc_error": ("consecutive_failures", "timestamp"),
    "connection_error": ("superseded", "lost", "from_seq", "to_seq", "timestamp"),
    "circuit_breaker.open": ("consecutive_failures", "retry_after_s", "timestamp"),
    "circuit_breaker.half_open": ("consecutive_failures", "retry_after_s", "timestamp"),
    "circuit_breaker.closed": ("consecutive_failures", "retry_after_s", "timestamp"),
    "heartbeat": ("server_time", "seq", "freshness.[]"),
}


@dataclass(frozen=True)
class Violation:
    """One broken rule."""

    rule: str
    """Name of the rule: that of the function that found it."""
    index: int
    """Index in the history; its length for what is missing at the end."""
    what: str
    """For people."""


def shape(history: History) -> list[Violation]:
    """Each message: type, RFC 3339 UTC timestamp, data object; numbers are numbers; seq where it belongs only."""
    return [
        Violation("shape", index, what) for index, (_, message) in enumerate(history) for what in _misshapen(message)
    ]


def welcome_first(history: History) -> list[Violation]:
    """The first message of all is a welcome: level info, no number."""
    if not history:
        return []
    message = history[0][1]
    if not is_notice(message) or data_of(message).get("level") != "info":
        return [Violation("welcome_first", 0, f"the first message is no welcome: {message}")]
    return []


def fresh_or_marked(history: History) -> list[Violation]:
    """Each state says whether it is stale; a stale one why and since when, a fresh one neither."""
    return [
        Violation("fresh_or_marked", index, what)
        for index, (_, message) in enumerate(history)
        if is_state(message)
        for what in _misfresh(message)
    ]


def close(code: int, reason: str = "", *, after_messages: int = 0) -> list[Violation]:
    """The close code is documented, and a server that leaves says when to come back. 1006: it said nothing at all."""
    if code not in DOCUMENTED_CLOSE_CODES:
        return [Violation("close", after_messages, f"close code {code} ({reason!r}) is not documented")]
    if code in (1001, 1012) and _RETRY_AFTER.search(reason) is None:
        return [Violation("close", after_messages, f"close {code} without retry_after_ms: {reason!r}")]
    if len(reason.encode()) > 123:  # RFC 6455 section 5.5: a control frame holds 125 bytes, two are the code
        return [Violation("close", after_messages, f"close reason longer than 123 bytes: {reason!r}")]
    return []


def _misshapen(message: Message) -> Iterator[str]:
    kind = message.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind) or len(kind) > 128:
        yield f"type {kind!r}: {dict(message)}"
        return
    if not _is_timestamp(message.get("timestamp")):
        yield f"timestamp {message.get('timestamp')!r} of {kind}"
    if not isinstance(message.get("data"), Mapping):
        yield f"data {message.get('data')!r} of {kind}"
        return
    yield from _misnumbered(message, kind)
    if is_notice(message):
        yield from _misnoticed(data_of(message))
    for path in _NUMBERS.get(kind, ()):
        for value in _at(message["data"], path.split(".")):
            if not (value is None or _is_number(value)):
                yield f"{path} of {kind} is {value!r}, not a number"


def _misnumbered(message: Message, kind: str) -> Iterator[str]:
    seq = message.get("seq")
    if "snapshot" in message and (message["snapshot"] is not True or "seq" not in message):
        yield f"snapshot {message['snapshot']!r} beside seq {seq!r} of {kind}"
    unnumbered = kind in UNNUMBERED_TYPES or is_notice(message) or is_bridge_loss(message)
    if "seq" in message:
        # what BRIDGE_DISCONNECT marks may also be an event of a journal that has it from another gateway's bridge
        if unnumbered:
            yield f"seq {seq!r} on {kind}, which is not from the journal"
        elif not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
            yield f"seq {seq!r} of {kind}"
    elif not unnumbered:
        yield f"no seq on {kind}"


def _misnoticed(data: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in (("message", str), ("level", str), ("client_id", str), ("epoch", str), ("subscriptions", list)):
        if not isinstance(data.get(name), kind):
            yield f"{name} of a welcome is {data.get(name)!r}"
    if not _is_count(data.get("seq")):
        yield f"seq of a welcome is {data.get('seq')!r}"
    if not _is_number(data.get("heartbeat_s")):
        yield f"heartbeat_s of a welcome is {data.get('heartbeat_s')!r}"
    subscriptions = data.get("subscriptions")
    if isinstance(subscriptions, list) and subscriptions != sorted(subscriptions):
        yield f"subscriptions of a welcome are not sorted: {subscriptions}"
    resume = data_of({"data": data.get("resume")})
    for name in ("requested", "recovered"):
        if not isinstance(resume.get(name), bool):
            yield f"resume.{name} of a welcome is {resume.get(name)!r}"
    for name in ("replayed", "superseded", "lost"):
        if not _is_count(resume.get(name)):
            yield f"resume.{name} of a welcome is {resume.get(name)!r}"
    if resume.get("recovered") is True and (resume.get("requested") is False or resume.get("lost") != 0):
        yield f"resume of a welcome recovered without being requested, or with losses: {dict(resume)}"


def _misfresh(message: Message) -> Iterator[str]:
    kind, data = message.get("type"), data_of(message)
    stale, code, since = data.get("stale"), data.get("error_code"), data.get("last_update")
    if stale is True:
        if code not in _STALE_CODES:
            yield f"stale {kind} with error_code {code!r}"
        if not _is_timestamp(since):
            yield f"stale {kind} with last_update {since!r}"
        if code == "BRIDGE_DISCONNECT" and is_snapshot(message):
            yield f"{kind} that the gateway marked stale is numbered"
    elif stale is False:
        if code is not None or since is not None:
            yield f"fresh {kind} with error_code {code!r} and last_update {since!r}"
    else:
        yield f"{kind} with stale {stale!r}"


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at a path; nothing where the path does not exist."""
    if not path:
        yield value
    elif path[0] == "[]":
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        for item in items:
            yield from _at(item, path[1:])
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _is_timestamp(value: object) -> bool:
    if not isinstance(value, str) or not _RFC3339_UTC.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
