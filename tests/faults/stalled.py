"""Clients that stop reading, and waiting for what the gateway makes of them."""

import asyncio
import time
from typing import Self

from tests.faults.wires import Wire
from tests.kit.programs import Stack
from tests.kit.rawclient import RawClient

__all__ = ["Staller", "wait_counted"]


class Staller:
    """A client that reads its welcome and nothing more; one that talks goes on sending pings."""

    def __init__(self, client: RawClient, client_id: str, *, talks: bool) -> None:
        self.client = client
        self.client_id = client_id
        self._talk = asyncio.create_task(self._ping()) if talks else None

    @classmethod
    async def connect(cls, wire: Wire, stack: Stack, place: int) -> Self:
        """Of ten in a row two are event streams, and four of the WebSockets talk."""
        if place % 10 < 2:
            return await cls._stream(wire, stack)
        client = await RawClient.open(f"{wire.ws_url(stack)}?types=*", receive_buffer_bytes=4096, tls=wire.tls)
        await client.read_frame()
        return cls(client, client.history[0].message["data"]["client_id"], talks=place % 10 < 6)

    @classmethod
    async def _stream(cls, wire: Wire, stack: Stack) -> Self:
        """It does not even read the answer's head."""
        host, _, port = stack.gateway.address.rpartition(":")
        client = await RawClient.open_tcp(host, int(port), receive_buffer_bytes=4096, tls=wire.tls)
        await client.send_bytes(f"GET /api/v1/events?types=* HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        return cls(client, "", talks=False)

    async def close(self) -> None:
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.wait([self._talk])
        await self.client.close()

    async def _ping(self) -> None:
        try:
            while True:
                await self.client.send({"type": "ping"})
                await asyncio.sleep(0.1)  # below the rate that would end it: being stalled is to end it
        except OSError:
            pass  # it was cut


async def wait_counted(wire: Wire, stack: Stack, within_s: float, **wanted: int) -> float:
    """Waits until the gateway counts its clients so; gives time.monotonic()."""
    deadline_s = time.monotonic() + within_s
    while True:
        counts = await wire.clients(stack)
        if all(counts[name] == value for name, value in wanted.items()):
            return time.monotonic()
        assert time.monotonic() < deadline_s, f"{counts}, wanted {wanted} within {within_s} s"
        await asyncio.sleep(0.05)  # the gateway's count can only be asked for
