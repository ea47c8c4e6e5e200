"""grpc.health.v1 as clients see it."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from engine_bridge.health import Health
from tests.engine_bridge.fakes import RecordingFeed
from tests.engine_bridge.serving import Served, served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def ask(at: Served, name: str) -> int:
    answer = await at.health_stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    return int(answer.status)


def watch(at: Served, name: str) -> Any:
    return at.health_stub.Watch(health_pb2.HealthCheckRequest(service=name))


async def told(stream: Any) -> int:
    async with asyncio.timeout(5):
        return int((await stream.read()).status)


async def test_check_tells_each_name_by_itself() -> None:
    async with served(RecordingFeed()) as at:
        at.health.set("", True)
        at.health.set("engine", False)
        assert (await ask(at, ""), await ask(at, "engine")) == (SERVING, NOT_SERVING)


async def test_check_of_an_unknown_name_is_not_found() -> None:
    async with served(RecordingFeed()) as at:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(at, "nobody")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watch_tells_the_present_and_every_change() -> None:
    async with served(RecordingFeed()) as at:
        at.health.set("engine", True)
        stream = watch(at, "engine")
        assert await told(stream) == SERVING
        at.health.set("engine", False)
        assert await told(stream) == NOT_SERVING
        at.health.set("engine", True)
        assert await told(stream) == SERVING


async def test_watch_tells_nothing_when_nothing_changes() -> None:
    """Neither a status set again nor the change of another name."""
    async with served(RecordingFeed()) as at:
        at.health.set("engine", True)
        stream = watch(at, "engine")
        assert await told(stream) == SERVING
        at.health.set("engine", True)
        at.health.set("", False)
        await asyncio.sleep(0)
        at.health.set("engine", False)
        assert await told(stream) == NOT_SERVING


async def test_watch_of_an_unknown_name_tells_when_it_is_known() -> None:
    """As the protocol of health checks asks for."""
    async with served(RecordingFeed()) as at:
        stream = watch(at, "engine")
        assert await told(stream) == UNKNOWN
        at.health.set("engine", True)
        assert await told(stream) == SERVING


async def test_watcher_that_does_not_read_holds_nobody_up() -> None:
    """The stock servicer holds a lock while it writes: one such watcher would block every later change."""
    async with served(RecordingFeed()) as at:
        at.health.set("engine", True)
        for _ in range(5):
            stalled = watch(at, "engine")
            assert await told(stalled) == SERVING
        reader = watch(at, "engine")
        assert await told(reader) == SERVING
        for number in range(2000):
            at.health.set("engine", bool(number % 2))
            assert await told(reader) == (SERVING if number % 2 else NOT_SERVING)


async def test_watcher_that_is_being_told_something_when_all_stops_is_told_that_too() -> None:
    health = Health()
    health.set("", True)
    unused_context: Any = None
    stream = health.Watch(health_pb2.HealthCheckRequest(), unused_context)
    assert (await anext(stream)).status == SERVING
    health.stop()
    assert [answer.status async for answer in stream] == [NOT_SERVING]


async def test_stopped_health_tells_its_watchers_and_ends_their_streams() -> None:
    """Cancelling them instead would leave a traceback in the log at every orderly end."""
    async with served(RecordingFeed()) as at:
        at.health.set("", True)
        stream, unknown = watch(at, ""), watch(at, "nobody")
        assert (await told(stream), await told(unknown)) == (SERVING, UNKNOWN)
        at.health.stop()
        assert await told(stream) == NOT_SERVING
        async with asyncio.timeout(5):
            assert await stream.code() is grpc.StatusCode.OK
            assert await unknown.code() is grpc.StatusCode.OK
        assert await ask(at, "") == NOT_SERVING
