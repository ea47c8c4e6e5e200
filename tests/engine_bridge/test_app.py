"""The real process: how it starts, what it serves, how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.engine_bridge.fakes import TOPICS
from tests.engine_bridge.serving import Reader
from tests.kit.jsonrpc_engine import JsonRpcEngine
from tests.kit.programs import Program
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until

SERVICE = "engine_events.v1.EventService"
FAST = {
    "ENGINE_BRIDGE_POLL_S": "0.2",
    "ENGINE_BRIDGE_CALL_TIMEOUT_S": "0.5",
    "ENGINE_BRIDGE_HEARTBEAT_S": "0.2",
    "ENGINE_BRIDGE_BREAKER_FAILURES": "2",
}


@dataclass
class Bridge:
    """The program, and stubs of what it serves."""

    program: Program
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.events: Any = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def subscribe(self, *types: str) -> Reader:
        reader = Reader(self.events.Subscribe(pb.SubscribeRequest(types=types, after=events_pb2.Position())))
        await reader.read()
        return reader

    async def sources(self) -> dict[str, pb.SourceStatus]:
        status = await self.events.GetBridgeStatus(pb.GetBridgeStatusRequest(), timeout=5)
        return {source.topic: source for source in status.sources}

    async def until_sources(self, condition: Callable[[dict[str, pb.SourceStatus]], bool]) -> None:
        """Waits until what the bridge says of its sources is so."""
        async with asyncio.timeout(10):
            while not condition(await self.sources()):  # noqa: ASYNC110 - the status can only be asked
                await asyncio.sleep(0.02)


def program(directory: Path, settings: Mapping[str, str], *flags: str, port: int | None = None) -> Program:
    return Program(
        "bridge",
        "engine_bridge",
        listen="ENGINE_BRIDGE_LISTEN",
        directory=directory,
        settings=settings,
        arguments=flags,
        port=port,
    )


@asynccontextmanager
async def bridge(directory: Path, engine_url: str) -> AsyncIterator[Bridge]:
    async with (
        program(directory, {**FAST, "ENGINE_BRIDGE_ENGINE": engine_url}) as process,
        grpc.aio.insecure_channel(process.address) as channel,
    ):
        yield Bridge(process, channel)


async def ended(process: Program) -> tuple[int, list[str]]:
    """Starts a program that is not to start; gives its status and what it wrote."""
    await process.start(wait=False)
    try:
        status = await process.wait_ended(within_s=20)
    finally:
        await process.kill()
    return status, process.stderr().splitlines()


async def test_bad_setting_is_one_line_and_status_2(tmp_path: Path) -> None:
    status, lines = await ended(program(tmp_path, {"ENGINE_BRIDGE_ENGINE": "nowhere"}))
    assert status == 2
    (line,) = lines
    assert line.startswith("engine_bridge: ENGINE_BRIDGE_ENGINE='nowhere': ")


async def test_port_in_use_is_one_line_and_status_1(tmp_path: Path) -> None:
    async with ScriptedEngine() as other:
        status, lines = await ended(program(tmp_path, {}, port=other.port))
    assert status == 1
    (line,) = [line for line in lines if line.startswith("engine_bridge: ")]
    assert f"cannot listen on 127.0.0.1:{other.port}" in line
    assert not any("Traceback" in line for line in lines)


async def test_help_is_shown_with_status_0(tmp_path: Path) -> None:
    status, lines = await ended(program(tmp_path, {}, "--help"))
    assert status == 0
    assert "ENGINE_BRIDGE_POLL_S" in "\n".join(lines)


async def test_engine_that_is_not_there_is_a_state_to_live_with(tmp_path: Path) -> None:
    """It is told, by the health of "engine" too, and when the engine comes everything is fresh."""
    engine = ScriptedEngine()
    await engine.start()
    await engine.stop()
    async with bridge(tmp_path, engine.url) as at:
        await at.until_sources(lambda sources: all(source.consecutive_failures for source in sources.values()))
        answer = await at.health.Check(health_pb2.HealthCheckRequest(service="engine"), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with engine:
            watch = at.health.Watch(health_pb2.HealthCheckRequest(service="engine"))
            async with asyncio.timeout(5):
                while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
                    pass
            await at.until_sources(lambda sources: not any(s.consecutive_failures for s in sources.values()))
            states = (await at.events.GetSnapshot(pb.GetSnapshotRequest())).events
            assert {state.type for state in states} == set(TOPICS)
            assert not any(state.freshness.stale for state in states)


async def test_whole_bridge_serves_its_engine(tmp_path: Path) -> None:
    """Polled topics and pushed events in one stream; health under three names; reflection; five sources."""
    async with ScriptedEngine() as engine, bridge(tmp_path, engine.url) as at:
        reader = await at.subscribe()
        await until(lambda: engine.watchers == 1, within_s=10, what="the engine is watched")
        engine.notify("hello")
        while not (reader.messages() and set(TOPICS) <= {event.type for event in reader.events}):
            await reader.read()
        assert reader.messages() == ["hello"]
        for name in ("", SERVICE, "engine"):
            answer = await at.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        sources = await at.sources()
        assert sorted(sources) == sorted([*TOPICS, "notification"])
        assert {source.breaker for source in sources.values()} == {pb.BREAKER_STATE_CLOSED}

        stub: Any = reflection_pb2_grpc.ServerReflectionStub(at.channel)  # type: ignore[arg-type]  # an asynchronous one will do
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = {service.name async for answer in call for service in answer.list_services_response.service}
        assert listed == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_engine_that_answers_nonsense_does_not_end_the_bridge(tmp_path: Path) -> None:
    """Bytes that are no messages from every method, the stream and the health question included."""
    async with ScriptedEngine() as engine:
        for method in ("GetSystemStatus", "GetStorageStatus", "ListAgents", "Check"):
            engine.answer(method, b"\xff" * 20)
        async with bridge(tmp_path, engine.url) as at:
            await until(lambda: engine.watchers == 1, within_s=10, what="the engine is watched")
            engine.push_raw(b"\xff" * 20)
            await at.until_sources(
                lambda sources: (
                    sources["notification"].rejected == 1 and "cannot be decoded" in sources["system.status"].last_error
                )
            )
            assert (await at.sources())["compression.update"].consecutive_failures == 0
            assert at.program.is_running


async def test_json_rpc_engine_is_served_in_the_same_way(tmp_path: Path) -> None:
    async with JsonRpcEngine() as engine:
        engine.raw("agents.list", r'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\ud800"}}')
        async with bridge(tmp_path, engine.url) as at:
            await at.until_sources(lambda sources: sources["agent.status"].last_error != "")
            sources = await at.sources()
            assert sorted(sources) == sorted(TOPICS), "it pushes nothing"
            assert sources["agent.status"].last_error.startswith("agents.list: error 1: ")
            await at.until_sources(lambda sources: sources["system.status"].HasField("last_success"))


@pytest.mark.parametrize("reads", [True, False])
async def test_sigterm_with_an_open_stream_is_status_0_within_5_seconds(tmp_path: Path, reads: bool) -> None:
    """The reader is told to come back; one that does not read, with more waiting for it than fits, holds nothing up."""
    async with ScriptedEngine() as engine, bridge(tmp_path, engine.url) as at:
        reader = await at.subscribe()
        await until(lambda: engine.watchers == 1, within_s=10, what="the engine is watched")
        for number in range(0 if reads else 100):
            engine.push_other(f"engine.big_{number}", {"text": "x" * 100_000})
        engine.push_other("engine.last", {})
        if not reads:
            last = await at.subscribe("engine.last")
            while not last.events:
                await last.read()
        health = at.health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        ending = asyncio.create_task(reader.status()) if reads else None
        leaving = asyncio.create_task(health.read())
        end = await at.program.terminate(within_s=5)
        assert end.status == 0
        assert (await leaving).status == health_pb2.HealthCheckResponse.NOT_SERVING
        if ending is not None:
            assert await ending is grpc.StatusCode.UNAVAILABLE
