"""The gateway as a whole, in this process: what it is made of works together, and it comes apart in order."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine_runtime.addresses import unix_path
from engine_runtime.process import StartupError
from tests.kit.certificates import Authority, shown_by
from tests.kit.client import Recorder, SseRecorder, get
from tests.kit.rawclient import RawClient
from tests.kit.waiting import until, until_answer
from tests.ws_gateway.fakes import ScriptedBridge, batch, log, state, subscribed
from ws_gateway.app import serve
from ws_gateway.config import Settings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """A gateway that serves until `stop`."""

    def __init__(self, port: int, stop: asyncio.Event, task: "asyncio.Task[None]") -> None:
        self.port = port
        self.task = task
        self._stop = stop

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def status(self) -> Any:
        return (await get(self.url("/api/v1/status"))).json()

    async def stop(self) -> None:
        self._stop.set()
        async with asyncio.timeout(5):
            await self.task


@asynccontextmanager
async def gateway(bridge: ScriptedBridge, **settings: Any) -> AsyncIterator[Running]:
    """The real thing, with the settings given. With `listen`: there, and `port` says nothing."""
    port, stop = free_port(), asyncio.Event()
    configured = Settings(**{"listen": f"127.0.0.1:{port}", "bridge": f"grpc://{bridge.address}"} | settings)
    path = unix_path(configured.listen)
    task = asyncio.create_task(serve(configured, stop))
    running = Running(port, stop, task)
    try:
        await until(
            lambda: task.done() or (is_listening(port) if path is None else path.exists()), within_s=5, what="listening"
        )
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def bridge() -> AsyncIterator[ScriptedBridge]:
    async with ScriptedBridge.open() as opened:
        opened.tell(subscribed("e1", 2, replayed=2), batch(state(1), log(2)))
        yield opened


async def test_event_of_the_bridge_reaches_every_kind_of_client(bridge: ScriptedBridge) -> None:
    async with gateway(bridge) as running:
        async with (
            await Recorder.connect(running.url("/ws", "ws")) as browser,
            await SseRecorder.connect(running.url("/api/v1/events")) as stream,
        ):
            await browser.wait_for("system.status")
            await stream.wait_for("system.status")
            bridge.tell(batch(log(3)))
            for client in (browser, stream):
                assert (await client.wait_for(lambda m: m.get("seq") == 3)).message["data"]["message"] == "n=3"
        assert (await get(running.url("/readyz"))).status == 200


async def test_first_client_finds_the_bridges_journal() -> None:
    """It waits in the queue until the journal has been copied, so that it can be resumed."""
    async with ScriptedBridge.open() as bridge:
        asyncio.get_running_loop().call_later(0.3, bridge.tell, subscribed("e1", 2, replayed=2), batch(log(1), log(2)))
        async with gateway(bridge) as running:
            client = await Recorder.connect(running.url("/ws", "ws"), epoch="e1", seq=1)
            async with client:
                await client.wait_for("notification")
                assert client.welcome["resume"]["recovered"] is True


async def test_gateway_without_a_bridge_serves_and_says_so() -> None:
    async with ScriptedBridge.open() as gone:
        pass
    async with gateway(gone) as running:
        answer = await get(running.url("/readyz"))
        assert (answer.status, "not connected to the bridge" in answer.text) == (503, True)
        async with await Recorder.connect(running.url("/ws", "ws")) as client:
            await client.wait_for("notification")
            assert client.welcome["epoch"] == ""


async def test_clients_that_are_gone_leave_nothing_behind(bridge: ScriptedBridge) -> None:
    """Neither in the hub nor as tasks, whether they said goodbye, hung up or reset."""
    async with gateway(bridge, max_clients_per_address=3) as running:
        before = after = await running.status()
        for _ in range(3):
            browser = await Recorder.connect(running.url("/ws", "ws"))
            stream = await SseRecorder.connect(running.url("/api/v1/events"))
            rude = await RawClient.open(running.url("/ws", "ws"))
            assert (await running.status())["clients"]["connected"] == 3
            await browser.close()
            await stream.close()
            await rude.reset()
            async with asyncio.timeout(3):
                while (after := await running.status())["clients"]["connected"]:
                    pass
        assert after["tasks"] <= before["tasks"] + 1  # the connection of this very request


async def test_stopping_tells_the_clients_and_ends_in_time(bridge: ScriptedBridge) -> None:
    """Browsers when to come back; a stream just ends; nobody who does not read is waited for."""
    async with gateway(bridge) as running:
        browser = await Recorder.connect(running.url("/ws", "ws"))
        stream = await SseRecorder.connect(running.url("/api/v1/events"))
        stalled = await RawClient.open(running.url("/ws", "ws"), receive_buffer_bytes=4096)
        bridge.tell(*(batch(log(number, fill="x" * 500_000)) for number in range(3, 9)))
        await browser.wait_for(lambda message: message.get("seq") == 8)
        began_s = asyncio.get_running_loop().time()
        await running.stop()
        assert asyncio.get_running_loop().time() - began_s < 4
        assert (await browser.wait_closed()).code == 1012
        assert (await stream.wait_closed()).code == 1000
        assert not is_listening(running.port)
        for client in (browser, stream, stalled):
            await client.close()


async def test_head_of_an_endless_stream_is_refused(bridge: ScriptedBridge) -> None:
    """Its answer may have no body, which a stream is."""
    async with gateway(bridge) as running, aiohttp.ClientSession() as session:
        for path in ("/api/v1/events", "/ws"):
            async with session.head(running.url(path), timeout=aiohttp.ClientTimeout(total=3)) as answer:
                assert answer.status == 405
        async with session.head(running.url("/healthz")) as answer:
            assert answer.status == 200


async def test_port_in_use_is_one_clear_error(bridge: ScriptedBridge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError, match=f"cannot listen on {listen}: Address already in use"):
            await serve(Settings(listen=listen, bridge=f"grpc://{bridge.address}"), asyncio.Event())


async def test_certificate_that_cannot_be_used_is_one_clear_error(bridge: ScriptedBridge, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_text("nonsense")
    key.write_text("nonsense")
    settings = Settings(listen=f"127.0.0.1:{free_port()}", tls_cert=cert, tls_key=key)
    with pytest.raises(StartupError, match="cannot use the certificate"):
        await serve(settings, asyncio.Event())


# --- certificates


async def test_exchanged_certificate_is_shown_to_newcomers_and_live_connections_go_on(
    bridge: ScriptedBridge, tmp_path: Path
) -> None:
    """A bad one in between leaves the one before in force."""
    authority = Authority(tmp_path)
    pair = authority.issue("gateway")
    async with gateway(bridge, tls_cert=pair.cert, tls_key=pair.key) as running:
        address, tls = f"127.0.0.1:{running.port}", authority.client_context()
        client = await Recorder.connect(running.url("/ws", "wss"), tls=tls)
        async with client:
            first = await shown_by(address)
            authority.write(pair)
            second = await until_answer(
                lambda: shown_by(address), lambda shown: shown != first, within_s=10, what="the new one is shown"
            )
            pair.key.write_text("nonsense")
            began_s = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - began_s < 1.5:  # the files are looked at once a second
                assert await shown_by(address) == second
            authority.write(pair)
            await until_answer(
                lambda: shown_by(address), lambda shown: shown != second, within_s=10, what="a third one is shown"
            )
            async with await Recorder.connect(running.url("/ws", "wss"), tls=tls) as newcomer:
                bridge.tell(batch(log(3)))
                for one in (client, newcomer):
                    await one.wait_for(lambda message: message.get("seq") == 3)
            assert client.closed is None


async def test_key_of_another_certificate_is_one_clear_error(bridge: ScriptedBridge, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = Settings(
        listen=f"127.0.0.1:{free_port()}", tls_cert=authority.issue("a").cert, tls_key=authority.issue("b").key
    )
    with pytest.raises(StartupError, match="the key is not that of the certificate"):
        await serve(settings, asyncio.Event())


# --- deadlines


HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing"),
        pytest.param([HEALTHZ], id="half of the headers"),
        pytest.param([bytes([byte]) for byte in HEALTHZ], id="headers byte by byte"),
        pytest.param([HEALTHZ + b"\r\n"], id="nothing after a request"),
        pytest.param([HEALTHZ + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 100], id="body byte by byte"),
    ],
)
async def test_slow_request_is_cut_in_time(bridge: ScriptedBridge, pieces: list[bytes]) -> None:
    async with gateway(bridge, headers_s=0.5) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)

        async def say() -> None:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.1)

        began_s = asyncio.get_running_loop().time()
        saying = asyncio.create_task(say())
        try:
            async with asyncio.timeout(5):
                await reader.read()
        except ConnectionResetError:
            pass  # it is cut, while more of it comes
        assert asyncio.get_running_loop().time() - began_s >= 0.4
        saying.cancel()
        writer.transport.abort()


async def test_slow_tls_handshake_is_cut_in_time(bridge: ScriptedBridge, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gateway")
    async with gateway(bridge, tls_cert=pair.cert, tls_key=pair.key, tls_handshake_s=0.5) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"\x16\x03\x01\x02")  # the beginning of a ClientHello (RFC 8446, 5.1)
        began_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began_s >= 0.4
        writer.close()
        await writer.wait_closed()


async def test_token_that_does_not_come_in_time_ends_the_connection(bridge: ScriptedBridge, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("token\n")
    async with gateway(bridge, tokens_file=tokens, credentials_s=0.3) as running:
        began_s = asyncio.get_running_loop().time()
        async with await Recorder.connect(running.url("/ws", "ws")) as client:
            assert (await client.wait_closed()).code == 4501
        assert 0.3 <= asyncio.get_running_loop().time() - began_s < 3


# --- limits


async def test_every_limit_on_messages_can_be_set(bridge: ScriptedBridge) -> None:
    """Each below its default, which would let this pass."""
    async with gateway(
        bridge, max_json_depth=3, max_subscriptions=9, max_bad_messages=2, messages_per_s=0.01, messages_burst=6
    ) as running:
        url = running.url("/ws", "ws")
        async with await Recorder.connect(url) as client:
            deep = {"type": "ping", "x": [[[1]]]}
            assert (await client.ask(deep, "error"))["data"]["code"] == "INVALID_JSON"
            await client.ask({"type": "ping", "x": [[1]]}, "pong")
            many = {"type": "subscribe", "data": {"types": ["a", "b"]}}
            refused = await client.ask(many, "error")
            assert refused["data"]["code"] == "TOO_MANY_SUBSCRIPTIONS"
            await client.ask({"type": "subscribe", "data": {"types": ["a"]}}, "subscribe")
            await client.ask({"type": "ping"}, "pong")
            await client.ask({"type": "ping"}, "pong")
            assert (await client.ask({"type": "ping"}, "error"))["data"]["code"] == "RATE_LIMITED"
        async with await Recorder.connect(url) as client:
            for _ in range(2):
                await client.send("nonsense")
            assert (await client.wait_closed()).code == 4500
        ten = ",".join("abcdefghij")
        for path in (f"/ws?types={ten}", f"/api/v1/events?types={ten}", f"/api/v1/snapshot?types={ten}"):
            answer = await get(running.url(path))
            assert (answer.status, "TOO_MANY_SUBSCRIPTIONS" in answer.text) == (400, True), path


async def test_client_above_the_high_water_mark_is_behind(bridge: ScriptedBridge) -> None:
    """Some 100 KB for one that does not read: within the default mark and the kernel's buffers, beyond these."""
    async with gateway(bridge, send_buffer_bytes=4096, high_water_bytes=4096) as running:
        stalled = await RawClient.open(running.url("/ws", "ws"), receive_buffer_bytes=4096)
        bridge.tell(*(batch(log(number, fill="x" * 10_000)) for number in range(3, 13)))
        await until_answer(
            running.status, lambda status: status["clients"]["behind"] == 1, within_s=5, what="a client is behind"
        )
        await stalled.close()


# --- a Unix socket


class OverUnix:
    """Requests to a gateway on a Unix socket, as a proxy makes them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self._open: list[object] = []

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(f"http://localhost{path}", headers=headers) as answer:
            return answer.status, await answer.text()

    async def connect(self, address: str | None = None) -> int:
        """Opens a WebSocket that stays open, for a client at this address; gives the status of the handshake."""
        headers = {} if address is None else {"X-Forwarded-For": address}
        try:
            self._open.append(await self.session.ws_connect("http://localhost/ws", headers=headers))
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return 101


@asynccontextmanager
async def over_unix(path: Path) -> AsyncIterator[OverUnix]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield OverUnix(session)


async def test_gateway_serves_on_a_unix_socket_for_its_group_and_removes_it(
    bridge: ScriptedBridge, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.sock"
    async with gateway(bridge, listen=f"unix:{path}"), over_unix(path) as proxy:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert (await proxy.get("/healthz"))[0] == 200
        async with proxy.session.ws_connect("http://localhost/ws") as browser:
            assert (await browser.receive_json())["type"] == "notification"
            assert (await browser.receive_json())["type"] == "system.status"
    assert not path.exists()


async def test_unix_socket_that_is_served_is_left_alone_and_a_dead_ones_is_taken_over(
    bridge: ScriptedBridge, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    settings = Settings(listen=f"unix:{path}", bridge=f"grpc://{bridge.address}")
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stop))
    async with over_unix(path) as proxy:

        async def is_served() -> bool:
            try:
                return (await proxy.get("/healthz"))[0] == 200
            except aiohttp.ClientConnectorError:
                return False

        await until_answer(is_served, bool, within_s=5, what="it is taken over")
        with pytest.raises(StartupError, match=f"cannot listen on unix:{path}: another program serves there"):
            await serve(settings, asyncio.Event())
        assert await is_served()
    stop.set()
    await serving


async def test_clients_over_a_unix_socket_count_as_one_unless_the_proxy_is_trusted(
    bridge: ScriptedBridge, tmp_path: Path
) -> None:
    """Whoever may open the socket may write X-Forwarded-For: it is believed only if `unix` is trusted."""
    path = tmp_path / "gateway.sock"
    listen = f"unix:{path}"
    async with gateway(bridge, listen=listen, max_clients_per_address=1), over_unix(path) as proxy:
        assert [await proxy.connect(f"203.0.113.{number}") for number in range(2)] == [101, 429]
    trusted = {"listen": listen, "max_clients_per_address": 1, "trusted_proxies": ["unix"]}
    async with gateway(bridge, **trusted), over_unix(path) as proxy:
        assert [await proxy.connect(f"203.0.113.{number}") for number in range(2)] == [101, 101]
        assert await proxy.connect("203.0.113.1") == 429
        assert await proxy.connect("unix, 203.0.113.1") == 429
        assert [await proxy.connect() for _ in range(2)] == [101, 429]


async def test_slow_reader_on_a_unix_socket_is_seen_to_read(bridge: ScriptedBridge, tmp_path: Path) -> None:
    """The kernel says nothing of how far it has read. Behind a proxy it would be cut for stalling otherwise."""
    path = tmp_path / "gateway.sock"
    async with gateway(bridge, listen=f"unix:{path}", stall_s=2):
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as slow:
            slow.setblocking(False)
            await loop.sock_connect(slow, str(path))
            await loop.sock_sendall(slow, b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await loop.sock_recv(slow, 1024)
            bridge.tell(*(batch(log(number, fill="x" * 10_000)) for number in range(3, 103)))
            began_s, read = loop.time(), 0
            while loop.time() - began_s < 6:  # three times the time in which one that does not read is cut
                await asyncio.sleep(0.1)
                got = len(await loop.sock_recv(slow, 3000))
                assert got, f"cut after {read} bytes"
                read += got
            assert read < 400_000, "it was a slow one"


async def test_reader_on_a_unix_socket_that_does_not_read_is_cut(bridge: ScriptedBridge, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    async with gateway(bridge, listen=f"unix:{path}", stall_s=1), over_unix(path) as proxy:
        async with proxy.session.ws_connect("http://localhost/ws?types=notification"):
            pass
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as stalled:
            stalled.setblocking(False)
            await loop.sock_connect(stalled, str(path))
            await loop.sock_sendall(stalled, b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await loop.sock_recv(stalled, 1024)
            bridge.tell(*(batch(log(number, fill="x" * 10_000)) for number in range(3, 103)))

            async def dropped() -> int:
                status: dict[str, Any] = json.loads((await proxy.get("/api/v1/status"))[1])
                return int(status["clients"]["dropped"])

            await until_answer(dropped, lambda count: count == 1, within_s=10, what="the client is cut")
