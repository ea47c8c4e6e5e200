"""Both adapters over TLS, with engines that want a certificate, and certificates that change."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine_bridge import engines
from engine_bridge.engines import Engine, Pushed
from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.engines.jsonrpc import JsonRpcEngine
from engine_bridge.errors import Unreachable
from engine_runtime.process import StartupError
from engine_runtime.tls import TlsFiles
from tests.kit.certificates import Authority, Pair
from tests.kit.jsonrpc_engine import JsonRpcEngine as HttpServer
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until, until_answer

KINDS = ("grpc", "jsonrpc")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("client", "client.example")


@asynccontextmanager
async def url_of(kind: str, authority: Authority) -> AsyncIterator[str]:
    """An engine of this kind that wants clients of the authority."""
    server = authority.issue("server")
    if kind == "grpc":
        async with ScriptedEngine(credentials=authority.server_credentials(server)) as engine:
            yield engine.url
    else:
        async with HttpServer(tls=authority.server_context(server)) as http:
            yield http.url


@asynccontextmanager
async def connected(url: str, files: TlsFiles) -> AsyncIterator[Engine]:
    engine = engines.connect(url, files)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_engine_is_asked_with_the_certificate_that_it_wants(kind: str, authority: Authority, pair: Pair) -> None:
    async with url_of(kind, authority) as url, connected(url, authority.client(pair)) as engine:
        assert await engine.fetch("agent.status", 5)
        assert await engine.is_healthy(5)


@pytest.mark.parametrize("kind", KINDS)
async def test_engine_and_bridge_that_do_not_know_one_another_do_not_talk(
    kind: str, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    async with url_of(kind, authority) as url:
        for files in (authority.client(), authority.client(other.issue("client")), other.client(pair)):
            async with connected(url, files) as engine:
                with pytest.raises(Unreachable):
                    await engine.fetch("agent.status", 5)
                assert not await engine.is_healthy(5)


@pytest.mark.parametrize("kind", KINDS)
async def test_certificate_that_was_exchanged_is_shown_as_soon_as_the_engine_is_asked_again(
    kind: str, authority: Authority, tmp_path: Path
) -> None:
    """As when the one before had expired: nothing is started anew."""
    pair = Authority(tmp_path, "before").issue("client")
    async with url_of(kind, authority) as url, connected(url, authority.client(pair)) as engine:
        assert not await engine.is_healthy(5)
        authority.write(pair)
        await until_answer(lambda: engine.is_healthy(5), bool, within_s=10, what="the engine is reached")
        assert await engine.fetch("agent.status", 5)


async def test_call_that_waits_while_the_channel_is_exchanged_fails_as_any_other(
    authority: Authority, pair: Pair
) -> None:
    """grpc.aio would cancel its task, and with it the topic for ever."""
    async with ScriptedEngine(credentials=authority.server_credentials(authority.issue("server"))) as server:
        engine = GrpcEngine(server.address, authority.client(pair))
        server.hang("ListAgents")
        server.hang("Check")
        waiting = asyncio.create_task(engine.fetch("agent.status", 30))
        await until(lambda: server.calls["ListAgents"] == 1, within_s=5, what="the call has arrived")
        authority.write(pair)

        async def is_over() -> bool:
            await engine.is_healthy(0.1)
            return waiting.done()

        await until_answer(is_over, bool, within_s=10, what="the call is over")
        with pytest.raises(Unreachable, match="made anew"):
            await waiting
        await engine.close()


async def test_call_that_is_cancelled_stays_cancelled(authority: Authority, pair: Pair) -> None:
    async with ScriptedEngine(credentials=authority.server_credentials(authority.issue("server"))) as server:
        engine = GrpcEngine(server.address, authority.client(pair))
        server.hang("ListAgents")
        waiting = asyncio.create_task(engine.fetch("agent.status", 30))
        await until(lambda: server.calls["ListAgents"] == 1, within_s=5, what="the call has arrived")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await engine.close()


async def test_live_connection_stays_when_the_certificate_is_exchanged(authority: Authority, pair: Pair) -> None:
    async with ScriptedEngine(credentials=authority.server_credentials(authority.issue("server"))) as server:
        engine = GrpcEngine(server.address, authority.client(pair))
        stream = engine.watch(None)
        await anext(stream)
        authority.write(pair)
        for _ in range(3):
            await anext(stream)  # one a second
            assert await engine.is_healthy(5)
        assert server.watchers == 1
        await stream.aclose()  # type: ignore[attr-defined]  # every adapter's watch is an async generator
        await engine.close()


async def _drained(stream: AsyncIterator[Pushed]) -> None:
    async for _ in stream:
        pass


async def test_stream_that_broke_is_opened_anew_with_the_certificate_that_there_is_now(
    authority: Authority, pair: Pair
) -> None:
    """Also if the one before would still do: whoever exchanged an authority wants the old one gone."""
    server = ScriptedEngine(credentials=authority.server_credentials(authority.issue("server")))
    await server.start()
    engine = GrpcEngine(server.address, authority.client(pair))
    stream = engine.watch(None)
    await anext(stream)
    channel = engine._channel
    authority.write(pair)
    began_s = time.monotonic()
    await until(lambda: time.monotonic() - began_s > 1.1, within_s=5, what="time for a look")
    await server.stop()
    with pytest.raises(Unreachable):
        await _drained(stream)
    assert engine._channel is not channel
    await engine.close()


async def test_files_that_cannot_be_used_are_one_clear_error(authority: Authority, pair: Pair) -> None:
    pair.key.write_text("nonsense")
    for url in ("grpcs://127.0.0.1:1", "https://127.0.0.1:1/"):
        with pytest.raises(StartupError, match="cannot use the certificate"):
            engines.connect(url, authority.client(pair))


async def test_kind_of_engine_follows_from_the_url(tmp_path: Path) -> None:
    for url, kind in (
        ("grpc://127.0.0.1:1", GrpcEngine),
        ("grpcs://127.0.0.1:1", GrpcEngine),
        (f"unix:{tmp_path}/a.sock", GrpcEngine),
        ("http://127.0.0.1:1/", JsonRpcEngine),
        ("https://127.0.0.1:1/", JsonRpcEngine),
    ):
        async with connected(url, TlsFiles(None, None, None)) as engine:
            assert isinstance(engine, kind)


def test_server_context_of_the_kit_wants_certificates(authority: Authority) -> None:
    assert authority.server_context(authority.issue("server")).verify_mode is ssl.CERT_REQUIRED
