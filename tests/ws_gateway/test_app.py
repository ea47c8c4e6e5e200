"""The gateway as a whole, in this process: what it is made of works together, and it comes apart in order."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine_runtime.process import StartupError
from tests.kit.client import Recorder, SseRecorder, get
from tests.kit.rawclient import RawClient
from tests.kit.waiting import until
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
    """The real thing, with the settings given."""
    port, stop = free_port(), asyncio.Event()
    configured = Settings(listen=f"127.0.0.1:{port}", bridge=f"grpc://{bridge.address}", **settings)
    task = asyncio.create_task(serve(configured, stop))
    running = Running(port, stop, task)
    try:
        await until(lambda: task.done() or is_listening(port), within_s=5, what="listening")
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
