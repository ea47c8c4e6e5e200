"""Clients that are behind: nothing is written to them until they have read what they were sent.

Owns when a client falls behind, when it may go on, and when it has read nothing for too long. Never writes to one.
"""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from ws_gateway.kernel import acknowledged
from ws_gateway.subscriber import Subscriber

__all__ = ["Behind"]

log = structlog.get_logger()

_LOW_SHARE = 4
"""One that is behind goes on when its buffer has fallen to this part of the high-water mark."""
_LOOK_S = 0.05
"""How often they are looked at; nothing runs when there are none."""
_ASK_KERNEL_S = 1.0
"""And how often the kernel is asked about one of them whose buffer does not shrink. At 1 KB/s the kernel takes nothing
out of it for half a minute: it waits until a third of its own buffer is free."""


class Behind:
    """Those of one hub."""

    def __init__(self, *, stall_s: float, high_bytes: int, clock: Callable[[], float]) -> None:
        """`stall_s`: who reads nothing for so long has stalled. `high_bytes`: who has more than this in its buffer
        is behind. `clock`: monotonic."""
        self.stall_s = stall_s
        self.high_bytes = high_bytes
        self._low_bytes = high_bytes // _LOW_SHARE
        self._clock = clock
        self._clients: dict[str, Subscriber] = {}
        self._someone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, client: Subscriber) -> bool:
        return client.client_id in self._clients

    def has_room(self, client: Subscriber) -> bool:
        """Looks at a client's buffer. False: it is behind now."""
        client.unlooked_bytes = 0
        buffered = client.transport.get_write_buffer_size()
        if buffered <= self.high_bytes:
            return True
        client.behind = True
        client.buffered_bytes = buffered
        client.drained_at_s = client.kernel_asked_at_s = self._clock()
        client.received_bytes = _received_bytes(client)
        self._clients[client.client_id] = client
        self._someone.set()
        log.debug("client_behind", client_id=client.client_id, buffered_bytes=buffered)
        return False

    def discard(self, client: Subscriber) -> None:
        """It has left."""
        self._clients.pop(client.client_id, None)

    async def wait(self) -> None:
        """Until it is time to look, which is never while nobody is behind."""
        if not self._clients:
            self._someone.clear()
        await self._someone.wait()
        await asyncio.sleep(_LOOK_S)

    def look(self) -> Iterator[tuple[Subscriber, bool]]:
        """Those for whom the time has come: True, it has drained and is no longer behind; False, it has stalled."""
        now_s = self._clock()
        for client in list(self._clients.values()):
            buffered = client.transport.get_write_buffer_size()
            self._note_progress(client, buffered, now_s)
            if buffered <= self._low_bytes:
                del self._clients[client.client_id]
                client.behind = False
                client.unlooked_bytes = buffered
                yield client, True
            elif now_s - client.drained_at_s >= self.stall_s:
                yield client, False

    def _note_progress(self, client: Subscriber, buffered: int, now_s: float) -> None:
        if buffered < client.buffered_bytes:
            client.buffered_bytes = buffered
            client.drained_at_s = now_s
        elif now_s - max(client.drained_at_s, client.kernel_asked_at_s) >= _ASK_KERNEL_S:
            client.kernel_asked_at_s = now_s
            received = _received_bytes(client)
            if received > client.received_bytes:
                client.received_bytes = received
                client.drained_at_s = now_s


def _received_bytes(client: Subscriber) -> int:
    heard = acknowledged(client.transport)
    return 0 if heard is None else heard.received_bytes
