"""What an engine pushes is not trusted: malformed, oversized and forged events are refused here, and counted."""

import structlog
from engine_events.v1 import events_pb2

from eventlog import is_type

__all__ = ["Intake"]

log = structlog.get_logger()

_MAX_EVENT_BYTES = 256 << 10
"""A single event must leave room for others in the journal."""
_MAX_KEY_LENGTH = 256
_MAX_TYPES = 1000
"""Types beyond the core that one engine may have: each is remembered, here and by every reader."""
_CORE = ("system.status", "storage.update", "agent.status", "compression.update", "notification")
"""What an engine may always say, however many types of its own it has."""
_OURS = frozenset(
    {
        *("ping", "pong", "heartbeat", "connection_error", "rpc_error", "subscribe", "unsubscribe", "error"),
        *("circuit_breaker.open", "circuit_breaker.half_open", "circuit_breaker.closed"),
    }
)
"""Said by the bridge and the gateway; from an engine they would be forged."""


class Intake:
    """Remembers which types the engine has used, and complains about each kind of mistake once."""

    def __init__(self) -> None:
        self._types = set(_CORE)
        self._complaints: set[str] = set()

    def check(self, event: events_pb2.Event) -> events_pb2.Event | None:
        """The event without what only the bridge may set, or None: refused."""
        mistake = self._mistake(event)
        if mistake:
            if mistake not in self._complaints:
                self._complaints.add(mistake)
                log.warning("engine_event_rejected", reason=mistake, type=event.type[:200], bytes=event.ByteSize())
            return None
        clean = events_pb2.Event()
        clean.CopyFrom(event)
        clean.ClearField("seq")
        clean.ClearField("published_at")
        clean.ClearField("freshness")
        return clean

    def _mistake(self, event: events_pb2.Event) -> str:
        # the cheapest questions first: an engine without end of types is refused faster than it can make them up
        type_ = event.type
        is_new = type_ not in self._types
        if is_new:
            if len(self._types) >= len(_CORE) + _MAX_TYPES:
                return "too many types"
            if not is_type(type_):
                return "malformed type"
            if type_ in _OURS:
                return "reserved type"
        if len(event.key) > _MAX_KEY_LENGTH:
            return "key too long"
        if event.ByteSize() > _MAX_EVENT_BYTES:
            return "too large"
        if is_new:
            self._types.add(type_)
        return ""
