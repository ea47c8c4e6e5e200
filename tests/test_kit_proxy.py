"""The faulty network does to real connections what it is told, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Self

import pytest

from tests.kit.programs import free_port
from tests.kit.proxy import Proxy
from tests.kit.waiting import until

WITHIN_S = 5.0


class Peer:
    """A TCP server that echoes, keeping what it got; or that only swallows or only speaks."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ends: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.echoes = True
        self.port = 0
        self._server: asyncio.Server | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                self.received += data
                if self.echoes:
                    writer.write(data)
            self.ends.append("fin")
            writer.close()
        except ConnectionError:
            self.ends.append("reset")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as serving:
        yield serving


@pytest.fixture
async def proxy(peer: Peer) -> AsyncIterator[Proxy]:
    async with Proxy(f"127.0.0.1:{peer.port}") as forwarding:
        yield forwarding


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.readexactly(count)

    async def ended(self) -> str:
        """How the proxy's side ends, after whatever still comes."""
        async with asyncio.timeout(WITHIN_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                return "reset"
            return "fin"

    async def silent_for(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    yield made
    made.writer.transport.abort()
    await asyncio.sleep(0)


async def reset_at_once(proxy: Proxy) -> bool:
    """Whether a new connection is reset, be it before or after the client knows that it was made."""
    try:
        made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    except ConnectionResetError:
        return True
    how = await made.ended()
    made.writer.transport.abort()
    return how == "reset"


async def test_bytes_pass_unchanged_both_ways(proxy: Proxy, client: Client, peer: Peer) -> None:
    """Many of them, and they are counted."""
    data = bytes(range(256)) * 8000
    client.writer.write(data)
    assert await client.read(len(data)) == data
    assert (proxy.accepted_count, proxy.open_count) == (1, 1)
    assert (proxy.up.forwarded_bytes, proxy.down.forwarded_bytes) == (len(data), len(data))


async def test_end_of_one_side_is_passed_on(proxy: Proxy, client: Client, peer: Peer) -> None:
    """A FIN goes through, the other direction still works; when both ended, the connection is gone."""
    client.writer.write(b"last words")
    client.writer.write_eof()
    assert await client.read(10) == b"last words"
    await until(lambda: peer.ends == ["fin"], within_s=WITHIN_S, what="the server sees the end")
    assert await client.ended() == "fin"
    await until(lambda: proxy.open_count == 0, within_s=WITHIN_S, what="the connection is forgotten")


async def test_latency_delays_without_lowering_throughput(proxy: Proxy, client: Client) -> None:
    """A round trip takes both latencies, and a hundred in a row take no longer than one."""
    proxy.up.latency_s, proxy.down.latency_s = 0.1, 0.05
    started_s = time.monotonic()
    for _ in range(100):
        client.writer.write(b"x" * 1000)
        await asyncio.sleep(0)
    await client.read(100_000)
    assert 0.15 <= time.monotonic() - started_s < 2


async def test_rate_limits_one_direction(proxy: Proxy, client: Client, peer: Peer) -> None:
    """What the server sends trickles; what it gets does not."""
    proxy.down.rate_bytes_per_s = 20_000
    started_s = time.monotonic()
    client.writer.write(b"x" * 10_000)
    await until(lambda: len(peer.received) == 10_000, within_s=0.4, what="the server got all at once")
    await client.read(10_000)
    assert 0.4 <= time.monotonic() - started_s < 3


async def test_stall_holds_up_and_loses_nothing(proxy: Proxy, client: Client) -> None:
    """Nothing comes and nothing breaks while it lasts; then everything does, in order."""
    proxy.down.stall()
    assert proxy.down.is_stalled
    client.writer.write(b"held up")
    assert await client.silent_for(0.2)
    proxy.down.flow()
    assert await client.read(7) == b"held up"


async def test_stall_presses_back_on_the_sender(proxy: Proxy, client: Client, peer: Peer) -> None:
    """The proxy takes no more than a link holds: the sender is the one who waits."""
    proxy.up.stall()
    client.writer.transport.set_write_buffer_limits(high=0)
    chunk = b"x" * (1 << 20)
    written = 0
    drained = True
    while drained and written < 64 << 20:
        client.writer.write(chunk)
        written += len(chunk)
        drain = asyncio.create_task(client.writer.drain())
        done, _ = await asyncio.wait([drain], timeout=0.3)
        drained = bool(done)
        drain.cancel()
    assert written < 16 << 20  # kernel buffers, on both sides of the proxy
    assert len(peer.received) == 0


async def test_reset_hits_both_sides_and_later_connections_work(proxy: Proxy, client: Client, peer: Peer) -> None:
    """Both ends see a reset, not an end."""
    client.writer.write(b"hello")
    await client.read(5)
    assert proxy.reset() == 1
    assert await client.ended() == "reset"
    await until(lambda: peer.ends == ["reset"], within_s=WITHIN_S, what="the server sees the reset")
    assert proxy.open_count == 0
    again = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    again.writer.write(b"again")
    assert await again.read(5) == b"again"
    again.writer.transport.abort()


async def test_half_close_ends_one_direction_only(proxy: Proxy, client: Client, peer: Peer) -> None:
    """The client sees the end, and can still send; what the server answers then is swallowed."""
    client.writer.write(b"before")
    await client.read(6)
    proxy.half_close("down")
    assert await client.ended() == "fin"
    client.writer.write(b" and after")
    await until(lambda: peer.received == b"before and after", within_s=WITHIN_S, what="the server still gets it")
    client.writer.write(b"!")
    await until(lambda: peer.received.endswith(b"!"), within_s=WITHIN_S, what="and goes on getting it")
    assert peer.ends == []


async def test_cut_after_passes_exactly_so_many_bytes(proxy: Proxy, client: Client, peer: Peer) -> None:
    """Then a reset, once."""
    client.writer.write(b"12345")
    await client.read(5)
    proxy.up.cut_after(3)
    client.writer.write(b"abcdef")
    assert await client.ended() == "reset"
    await until(lambda: peer.ends == ["reset"], within_s=WITHIN_S, what="the server sees the reset")
    assert proxy.up.forwarded_bytes == 8
    again = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    again.writer.write(b"x" * 100)
    await again.read(100)
    again.writer.transport.abort()


async def test_cut_after_can_hit_every_connection(proxy: Proxy) -> None:
    """Each at its own count, until healed."""
    proxy.down.cut_after(4, every_connection=True)
    for _ in range(3):
        made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
        made.writer.write(b"abcdef")
        assert await made.ended() == "reset"
        made.writer.transport.abort()
    await proxy.heal()
    made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    made.writer.write(b"abcdef")
    assert await made.read(6) == b"abcdef"
    made.writer.transport.abort()


async def test_refusal_closed_and_reset_and_back(proxy: Proxy, client: Client) -> None:
    """Nobody listens; or connections are taken and reset; those that are open go on; then everything is back."""
    client.writer.write(b"open")
    await client.read(4)
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.refuse("reset")
    assert await reset_at_once(proxy)
    client.writer.write(b"still")
    assert await client.read(5) == b"still"
    await proxy.heal()
    made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    made.writer.write(b"back")
    assert await made.read(4) == b"back"
    made.writer.transport.abort()


async def test_nobody_upstream_resets_the_client() -> None:
    """As if it had connected directly, as nearly as TCP allows; and it is counted."""
    async with Proxy(f"127.0.0.1:{free_port()}") as proxy:
        assert await reset_at_once(proxy)
        assert (proxy.unreachable_count, proxy.open_count) == (1, 0)
