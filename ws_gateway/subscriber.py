"""One client as the hub sees it: a cursor, a transport, and what it wants."""

import asyncio
from collections.abc import Callable

from eventlog import Topics
from ws_gateway.mirror import View
from ws_gateway.wire import Wire

__all__ = ["Subscriber"]

_NOTHING = View("", None)


class Subscriber:
    """Changed by the hub alone, except for `evict`, which the session gives."""

    __slots__ = (
        "__weakref__",
        "address",
        "behind",
        "buffered_bytes",
        "caught_up",
        "client_id",
        "cursor",
        "drained_at_s",
        "evict",
        "joined",
        "joined_at_s",
        "kernel_asked_at_s",
        "missed_from_seq",
        "missed_lost",
        "missed_superseded",
        "received_bytes",
        "topics",
        "transport",
        "unanswered_looks",
        "unlooked_bytes",
        "view",
        "wire",
    )

    def __init__(
        self,
        client_id: str,
        address: str,
        transport: asyncio.Transport,
        wire: Wire,
        topics: Topics,
        evict: Callable[[], None],
    ) -> None:
        self.client_id = client_id
        self.address = address
        self.transport = transport
        self.wire = wire
        self.topics = topics
        self.evict = evict
        """Ends the connection without waiting for the client; the hub has forgotten it already."""
        self.joined = False
        """Whether it is the hub's: what it is sent is the hub's alone to say, until it has left."""
        self.joined_at_s = 0.0
        """Monotonic."""
        self.cursor = 0
        """The last number that has been written to the transport, or skipped."""
        self.view = _NOTHING
        """What the client was last told of the bridge."""
        self.unlooked_bytes = 0
        """Written since the transport's buffer was last looked at."""
        self.behind = False
        self.buffered_bytes = 0
        """While behind: the least that the buffer has held."""
        self.drained_at_s = 0.0
        """While behind: when that became less, or the client was seen to have received more, monotonic."""
        self.received_bytes = 0
        """While behind: how much its kernel had acknowledged when ours was last asked."""
        self.kernel_asked_at_s = 0.0
        self.unanswered_looks = 0
        """How often in a row its kernel was found not to answer."""
        self.forget_missing()

    def forget_missing(self) -> None:
        """Nothing is missing that has not been told."""
        self.missed_from_seq: int | None = None
        self.missed_superseded = 0
        self.missed_lost = 0
        self.caught_up = False
        """It fell behind with the last event that there was: what it missed is told before anything newer."""
