"""The client that misbehaves, against a real WebSocket server, in the clear and over TLS."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.rawclient import End, Frame, HandshakeRefused, Opcode, RawClient, frame_bytes, take_frame
from tests.kit.waiting import until


class Server:
    """Echoes texts; floods, closes or refuses on request; notes how each connection ended."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.ends: list[int | None] = []
        self.flooded_bytes = 0
        self.url = ""
        self.tls_url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/refused":
            raise web.HTTPServiceUnavailable(text="no room")
        answer = web.WebSocketResponse(compress=False, timeout=0.2)
        await answer.prepare(request)
        try:
            async for message in answer:
                if message.type is not WSMsgType.TEXT:
                    continue
                self.received.append(message.data)
                if message.data == "ping":
                    await answer.ping(b"are you there")
                elif message.data == "close":
                    await answer.close(code=4408, message=b"slow")
                elif message.data == "flood":
                    await self._flood(answer)
                else:
                    await answer.send_str(message.data)
        except ConnectionError:
            pass
        finally:
            self.ends.append(answer.close_code)
        return answer

    async def _flood(self, answer: web.WebSocketResponse) -> None:
        text = '{"type": "x", "fill": "' + "x" * 10_000 + '"}'
        for _ in range(2000):
            await answer.send_str(text)
            self.flooded_bytes += len(text)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server on 127.0.0.1 and its clients."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *made, *subject, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    return server, ssl.create_default_context(cafile=str(chain))


@pytest.fixture
async def server(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Server]:
    serving = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", serving.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate[0]).start()
    (_, plain), (_, secure) = runner.addresses
    serving.url, serving.tls_url = f"ws://127.0.0.1:{plain}/ws", f"wss://127.0.0.1:{secure}/ws"
    yield serving
    await runner.cleanup()


@pytest.fixture(params=["plain", "tls"])
async def client(
    request: pytest.FixtureRequest, server: Server, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[RawClient]:
    if request.param == "tls":
        opened = await RawClient.open(server.tls_url, receive_buffer_bytes=4096, tls=certificate[1])
    else:
        opened = await RawClient.open(server.url, receive_buffer_bytes=4096)
    async with opened:
        yield opened


async def test_frames_go_and_come(client: RawClient) -> None:
    """A masked text is understood and echoed unmasked; large ones and fragments too."""
    for text in (
        '{"type": "a"}',
        '{"type": "b", "fill": "' + "x" * 300 + '"}',
        '{"type": "c", "fill": "' + "x" * 70_000 + '"}',
    ):
        await client.send_frame(text)
        frame = await client.read_frame()
        assert isinstance(frame, Frame)
        assert (frame.payload.decode(), frame.opcode, frame.masked, frame.fin) == (text, Opcode.TEXT, False, True)
    await client.send_frame('{"type":', fin=False)
    await client.send_frame(' "d"}', Opcode.CONTINUATION)
    frame = await client.read_frame()
    assert isinstance(frame, Frame)
    assert frame.json() == {"type": "d"}
    assert [entry.message["type"] for entry in client.history] == ["a", "b", "c", "d"]


async def test_silence_is_told_from_the_end(client: RawClient) -> None:
    """No frame yet, a close frame, and the end of the connection."""
    assert await client.read_frame(within_s=0.05) is End.SILENCE
    await client.send_frame("close")
    frames, end = await client.read_all()
    assert [(frame.opcode, frame.payload) for frame in frames] == [(Opcode.CLOSE, b"\x11\x38slow")]
    assert end in (End.EOF, End.RESET)
    assert client.closed is not None
    assert (client.closed.code, client.closed.reason) == (4408, "slow")


async def test_ping_is_answered_only_if_wanted(client: RawClient) -> None:
    """A pong goes out by itself, unless switched off."""
    await client.send_frame("ping")
    frame = await client.read_frame()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.payload) == (Opcode.PING, b"are you there")
    client.answers_pings = False
    await client.send_frame("ping")
    assert isinstance(await client.read_frame(), Frame)


async def test_stalled_client_holds_the_server_up_and_can_still_send(server: Server, client: RawClient) -> None:
    """It reads nothing: the server gets stuck far from the end. Reading resumes it, and nothing is lost."""
    await client.send_frame("flood")
    await until(lambda: server.flooded_bytes > 0, within_s=5, what="the flood begins")
    before = -1
    while before != server.flooded_bytes:
        before = server.flooded_bytes
        await asyncio.sleep(0.1)  # until it grows no more
    assert before < 20_000_000
    await client.send_frame('{"type": "meanwhile"}')
    client.start_reading()
    await client.wait_for("meanwhile", within_s=20)
    assert len(client.of_type("x")) == 2000
    assert client.bytes_read > 20_000_000


async def test_slow_client_reads_at_its_rate(client: RawClient) -> None:
    """So many bytes a second, give or take a chunk."""
    await client.send_frame("flood")
    started_s = time.monotonic()
    client.start_reading(bytes_per_s=50_000)
    await until(lambda: client.bytes_read > 25_000, within_s=5, what="25 KB are read")
    await client.stop_reading()
    rate = client.bytes_read / (time.monotonic() - started_s)
    assert 25_000 < rate < 75_000


async def test_reset_is_seen_by_the_server(server: Server, client: RawClient) -> None:
    """It vanishes with a RST."""
    await client.reset()
    await until(lambda: server.ends == [1006], within_s=5, what="the server sees the reset")


async def test_half_closed_client_is_seen_by_the_server(server: Server) -> None:
    """Its FIN is an abnormal end, and it still reads the server's."""
    async with await RawClient.open(server.url) as client:
        client.half_close()
        _, end = await client.read_all()
        assert end is End.EOF
        await until(lambda: server.ends == [1006], within_s=5, what="the server sees the end")


async def test_reader_in_the_background_sees_the_end(client: RawClient) -> None:
    """The record knows the close frame that was read."""
    client.start_reading()
    await client.send_frame("close")
    assert (await client.wait_closed()).code == 4408


async def test_refused_handshake_has_its_status_and_body(server: Server) -> None:
    """An answer other than 101 is an exception that can be looked at."""
    with pytest.raises(HandshakeRefused, match="503") as caught:
        await RawClient.open(server.url.replace("/ws", "/refused"))
    assert (caught.value.status, caught.value.body) == (503, b"no room")


async def test_garbage_before_the_handshake_can_be_sent(server: Server) -> None:
    """A bare connection, for what is not even HTTP."""
    port = int(server.url.split(":")[2].removesuffix("/ws"))
    async with await RawClient.open_tcp("127.0.0.1", port) as client:
        await client.send_bytes(b"\x00\x01garbage\r\n\r\n")
        assert (await client.read_frame()) is not End.SILENCE


async def test_unmasked_frame_is_refused_by_the_server(client: RawClient) -> None:
    """A wrong frame is sent as it was asked for."""
    await client.send_frame("x", reserved=4)
    frames, _ = await client.read_all()
    assert frames[0].opcode == Opcode.CLOSE
    assert int.from_bytes(frames[0].payload[:2], "big") == 1002


@settings(deadline=None)  # other work on the machine is no failure
@given(
    st.binary(max_size=300) | st.integers(65_530, 65_540).map(bytes),
    st.sampled_from(Opcode),
    st.booleans(),
    st.booleans(),
    st.integers(0, 7),
)
def test_frame_survives_the_round_trip(payload: bytes, opcode: Opcode, fin: bool, masked: bool, reserved: int) -> None:
    """What is built is parsed, byte for byte, and never a byte too early."""
    data = frame_bytes(payload, opcode, fin=fin, masked=masked, reserved=reserved)
    assert take_frame(data + b"more") == (Frame(opcode, payload, fin, reserved, masked), len(data))
    for cut in {0, 1, 2, 5, len(data) - 1}:
        if cut < len(data):
            assert take_frame(data[:cut]) is None
