"""Channels to a real server, and when a new one is due."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine_runtime.peer import Peer
from engine_runtime.process import StartupError
from tests.kit.certificates import Authority, Pair
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("client", "client.example")


def peer(engine: ScriptedEngine, authority: Authority, pair: Pair | None = None) -> Peer:
    return Peer(engine.address, authority.client(pair), max_message_bytes=1 << 20)


async def is_served(channel: grpc.aio.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    call = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return bool(code is grpc.StatusCode.OK)


async def test_peer_is_reached_with_the_certificate_that_it_wants(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    async with ScriptedEngine(credentials=authority.server_credentials(authority.issue("server"))) as engine:
        for made, served in (
            (peer(engine, authority, pair), True),
            (peer(engine, authority), False),
            (peer(engine, authority, other.issue("client")), False),
            (peer(engine, other, pair), False),
            (Peer(engine.address, None, max_message_bytes=1 << 20), False),
        ):
            async with made.connect() as channel:
                assert await is_served(channel) is served


async def test_new_channel_is_due_when_the_files_have_changed_and_uses_them(
    authority: Authority, tmp_path: Path
) -> None:
    """A channel itself never learns of them."""
    pair = Authority(tmp_path, "before").issue("client")
    async with ScriptedEngine(credentials=authority.server_credentials(authority.issue("server"))) as engine:
        made = peer(engine, authority, pair)
        async with made.connect() as before:
            assert not await is_served(before)
            assert not made.is_renewed
            authority.write(pair)
            await until(lambda: made.is_renewed, within_s=5, what="the change is noticed")
            assert not await is_served(before)
            async with made.connect() as after:
                assert await is_served(after)
                assert not made.is_renewed


async def test_peer_in_the_clear_is_never_renewed() -> None:
    assert not Peer("127.0.0.1:1", None, max_message_bytes=1 << 20).is_renewed


async def test_files_that_cannot_be_used_are_one_clear_error(authority: Authority, pair: Pair) -> None:
    pair.cert.write_text("nonsense")
    with pytest.raises(StartupError, match="cannot use the certificate"):
        Peer("127.0.0.1:1", authority.client(pair), max_message_bytes=1 << 20)
