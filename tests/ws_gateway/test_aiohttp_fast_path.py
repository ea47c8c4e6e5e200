"""What the fast path takes for granted of aiohttp: frames written to the transport beside aiohttp's own stay whole.

aiohttp promises none of this in words. A version that breaks it must fail here, not in somebody's browser.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from aiohttp import WSMsgType, web

from tests.kit.rawclient import End, Frame, Opcode, RawClient, frame_bytes
from tests.kit.waiting import until
from tests.ws_gateway.fakes import Served
from ws_gateway.encode import text_frame
from ws_gateway.listener import listening

Work = Callable[[web.WebSocketResponse, asyncio.Transport], Awaitable[None]]


@asynccontextmanager
async def server(work: Work) -> AsyncIterator[str]:
    """A WebSocket server as ours is set up, whose handler runs `work` beside reading; gives its URL."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse(compress=False, timeout=1.0, max_msg_size=1000, heartbeat=None)
        await socket_.prepare(request)
        assert request.transport is not None
        working = asyncio.ensure_future(work(socket_, request.transport))
        try:
            async for message in socket_:
                if message.type is WSMsgType.TEXT and message.data == "close":
                    await socket_.close(code=4000, message=b"as asked", drain=False)
        finally:
            working.cancel()
            await asyncio.wait([working])
        return socket_

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    finally:
        await runner.cleanup()


async def write_on(socket_: web.WebSocketResponse, transport: asyncio.Transport) -> None:
    """Writes as the hub does: in every turn of the loop, as long as the socket is not closed."""
    number = 0
    while not socket_.closed and not transport.is_closing():
        if transport.get_write_buffer_size() < 65_536:
            number += 1
            transport.write(text_frame(b'{"number":%d}' % number) + text_frame(b"x" * (number % 300)))
        await asyncio.sleep(0)


async def whole_frames(client: RawClient) -> tuple[list[Frame], End]:
    """Everything until the end, which must be frames of a server, whole ones, up to the last byte."""
    frames, end = await client.read_all(within_s=3)
    assert end is not End.SILENCE
    assert all(frame.fin and not frame.reserved and not frame.masked for frame in frames)
    numbers = [frame.json()["number"] for frame in frames if frame.payload.startswith(b"{")]
    assert [later - earlier for earlier, later in pairwise(numbers)] == [1] * (len(numbers) - 1)
    return frames, end


async def test_pongs_of_aiohttp_come_between_our_frames() -> None:
    """Each with its own payload, in order, and neither splits the other."""
    async with server(write_on) as url, await RawClient.open(url) as client:
        kinds: list[int] = []
        pongs: list[bytes] = []
        for number in range(100):
            await client.send_frame(b"%d" % number, Opcode.PING)
            while len(pongs) == number:
                frame = await client.read_frame()
                assert isinstance(frame, Frame)
                kinds.append(frame.opcode)
                if frame.opcode == Opcode.PONG:
                    pongs.append(frame.payload)
        assert pongs == [b"%d" % number for number in range(100)]
        await client.send_frame("close")
        await whole_frames(client)
        assert set(kinds) == {Opcode.TEXT, Opcode.PONG}
        assert kinds.count(Opcode.TEXT) > 100


CLOSE_FRAME = frame_bytes((1000).to_bytes(2, "big"), Opcode.CLOSE)


@pytest.mark.parametrize(
    ("last", "code"),
    [
        pytest.param(frame_bytes("close"), 4000, id="closed by the handler"),
        pytest.param(CLOSE_FRAME, 1000, id="closed by the client"),
        pytest.param(frame_bytes("x", 3), 1002, id="protocol error"),
        pytest.param(frame_bytes(b"\xff"), 1007, id="not UTF-8"),
        pytest.param(frame_bytes("x" * 2000), 1009, id="too large"),
    ],
)
async def test_closed_is_set_before_the_close_frame_goes_out(last: bytes, code: int) -> None:
    """Whoever looks at `closed` and writes within one turn of the loop never writes behind the close frame, whichever
    way the connection ends."""
    async with server(write_on) as url:
        for _ in range(10):
            async with await RawClient.open(url) as client:
                await client.read_frame()
                await client.send_bytes(last)
                frames, _ = await whole_frames(client)
                closes = [index for index, frame in enumerate(frames) if frame.opcode == Opcode.CLOSE]
                assert closes == [len(frames) - 1]
                assert int.from_bytes(frames[-1].payload[:2], "big") == code


async def test_frames_written_to_the_transport_count_in_its_buffer() -> None:
    """That is how a client that does not read is found."""
    seen: list[int] = []

    async def fill(_: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        while transport.get_write_buffer_size() == 0:
            transport.write(text_frame(b"x" * 60_000))
            await asyncio.sleep(0)
        before = transport.get_write_buffer_size()
        transport.write(text_frame(b"x" * 100))
        seen.append(transport.get_write_buffer_size() - before)

    async with server(fill) as url, await RawClient.open(url, receive_buffer_bytes=4096):
        await until(lambda: bool(seen), within_s=3, what="a full buffer")
        assert seen == [102]


async def test_abort_frees_a_client_that_does_not_read() -> None:
    """And the handler, which waits for its next message, comes to its end."""
    aborted: list[asyncio.Transport] = []

    async def cut(_: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        while transport.get_write_buffer_size() == 0:
            transport.write(text_frame(b"x" * 60_000))
            await asyncio.sleep(0)
        before.append(len(asyncio.all_tasks()))
        transport.abort()
        aborted.append(transport)

    before: list[int] = []
    async with server(cut) as url, await RawClient.open(url, receive_buffer_bytes=4096):
        await until(lambda: bool(aborted), within_s=3, what="aborted")
        await until(lambda: len(asyncio.all_tasks()) < before[0], within_s=2, what="the handler's end")


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(CLOSE_FRAME, id="closed by the client"),
        pytest.param(frame_bytes("x", 3), id="protocol error"),
        pytest.param(frame_bytes(b"\x00", Opcode.BINARY), id="closed by the session"),
    ],
)
async def test_hub_writes_nothing_behind_the_close_frame(last: bytes) -> None:
    """Ours, while events are published in every turn of the loop."""
    async with Served() as gateway:

        async def publish_on() -> None:
            while True:
                gateway.log()
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish_on())
        try:
            for _ in range(10):
                async with await RawClient.open(gateway.ws_url()) as client:
                    await client.read_frame()
                    await client.send_bytes(last)
                    frames, end = await client.read_all(within_s=3)
                    assert end is not End.SILENCE
                    assert [frame.opcode for frame in frames].count(Opcode.CLOSE) == 1
                    assert frames[-1].opcode == Opcode.CLOSE
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])


async def test_accepted_sockets_inherit_the_send_buffer_of_the_listener() -> None:
    """Linux doubles what it is asked for. Without it a client that stops reading swallows megabytes unnoticed."""
    with listening("127.0.0.1:0", 65_536) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65_536
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != 2 * 65_536
