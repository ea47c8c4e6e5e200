"""The scripted gRPC engine is a real engine, and does what it is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2, engine_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.scripted_engine import ScriptedEngine

pb = engine_service_pb2
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine(quiet_s=0.1) as running:
        yield running


@pytest.fixture
async def channel(engine: ScriptedEngine) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(engine.address, options=OPTIONS) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> "engine_service_pb2_grpc.EngineServiceAsyncStub":
    return engine_service_pb2_grpc.EngineServiceStub(channel)


class Watch:
    """One WatchEvents stream."""

    async def end(self) -> grpc.StatusCode:
        """The status, after reading to the end: it comes only when everything before it was read."""
        async with asyncio.timeout(5):
            try:
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            except grpc.aio.AioRpcError as error:
                return error.code()
            return await self.call.code()

    def __init__(self, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub", after: Any = None) -> None:
        self.call = stub.WatchEvents(pb.WatchEventsRequest(after=after))

    async def read(self) -> pb.WatchEventsResponse:
        async with asyncio.timeout(5):
            response = await self.call.read()
        assert isinstance(response, pb.WatchEventsResponse), response
        return response

    async def texts(self, count: int) -> list[str]:
        """The messages of the next notifications."""
        found: list[str] = []
        while len(found) < count:
            found += [event.notification.message for event in (await self.read()).events]
        return found


async def test_normal_answers_are_plausible_and_counted(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """Every method answers with its field set, and calls are counted by method."""
    first = await stub.GetSystemStatus(pb.GetSystemStatusRequest())
    second = await stub.GetSystemStatus(pb.GetSystemStatusRequest())
    assert first.status.hostname == "scripted"
    assert first.status.uptime < second.status.uptime
    assert (await stub.GetStorageStatus(pb.GetStorageStatusRequest())).storage.pools[0].name == "tank"
    assert set((await stub.ListAgents(pb.ListAgentsRequest())).agents.agents) == {"agent-1", "agent-2"}
    engine.push_job("j1", progress=10)
    queue = (await stub.ListCompressionJobs(pb.ListCompressionJobsRequest())).queue
    assert [job.job_id for job in queue.jobs] == ["j1"]
    assert queue.total_running == 1
    assert (await stub.SubmitCompressionJob(pb.SubmitCompressionJobRequest())).job.job_id
    assert (await stub.CancelCompressionJob(pb.CancelCompressionJobRequest(job_id="x"))).job.job_id == "x"
    assert engine.calls["GetSystemStatus"] == 2
    assert engine.calls["WatchEvents"] == 0
    assert engine.requests[-1] == ("CancelCompressionJob", pb.CancelCompressionJobRequest(job_id="x"))


async def test_method_fails_is_absent_answers_absurdly_and_recovers(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """Each behaviour holds for its method only, from the moment it is set until it is restored."""

    async def outcome() -> object:
        try:
            response = await stub.ListAgents(pb.ListAgentsRequest())
            return None if response is None else response.agents.total_agents  # type: ignore[redundant-expr]
        except grpc.aio.AioRpcError as error:
            return error.code()

    engine.fail("ListAgents", grpc.StatusCode.PERMISSION_DENIED, "no")
    assert await outcome() is grpc.StatusCode.PERMISSION_DENIED
    engine.absent("ListAgents")
    assert await outcome() is grpc.StatusCode.UNIMPLEMENTED
    engine.answer("ListAgents", b"\xff\xff\xff")
    assert await outcome() is None  # how grpc.aio gives what it cannot decode: no error
    engine.answer("ListAgents", lambda _: pb.ListAgentsResponse(agents=events_pb2.AgentStatus(total_agents=7)))
    assert await outcome() == 7
    assert (await stub.GetSystemStatus(pb.GetSystemStatusRequest())).status.hostname == "scripted"
    engine.restore("ListAgents")
    assert await outcome() == 2


async def test_hanging_call_is_answered_when_released(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """A call that hangs runs into its deadline; one that is still waiting is answered when the method is restored."""
    engine.hang("GetStorageStatus")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetStorageStatus(pb.GetStorageStatusRequest(), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    call = stub.GetStorageStatus(pb.GetStorageStatusRequest(), timeout=5)
    await engine.wait_called("GetStorageStatus", 2)
    assert engine.script.in_flight["GetStorageStatus"] >= 1
    engine.restore("GetStorageStatus")
    assert (await call).storage.pools[0].name == "tank"


async def test_health_is_settable(engine: ScriptedEngine, channel: grpc.aio.Channel) -> None:
    """grpc.health.v1 Check is one more method, serving unless told otherwise."""
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set in its constructor
    request = health_pb2.HealthCheckRequest()
    assert (await check(request)).status == health_pb2.HealthCheckResponse.SERVING
    engine.set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert (await check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert engine.calls["Check"] == 2


async def test_watch_begins_at_once_with_present_states_and_goes_on_live(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """Without a position: the latest of each state, no old log events, then everything new, then quiet marks."""
    engine.notify("old")
    engine.push_job("j1", progress=1)
    engine.push_job("j1", progress=2)
    watch = Watch(stub)
    first = await watch.read()
    assert [event.compression_job.progress for event in first.events] == [2.0]
    assert (first.position.epoch, first.position.seq) == (engine.epoch, 3)
    engine.notify("new")
    assert await watch.texts(1) == ["new"]
    assert not (await watch.read()).events


async def test_watch_resumes_without_gap_or_repetition(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """After a position of this epoch comes everything after it; what was forgotten is told; other epochs start anew."""
    for number in range(1, 6):
        engine.notify(f"n={number}")
    assert await Watch(stub, events_pb2.Position(epoch=engine.epoch, seq=2)).texts(3) == ["n=3", "n=4", "n=5"]
    engine.forget(4)
    forgotten = Watch(stub, events_pb2.Position(epoch=engine.epoch, seq=2))
    assert (await forgotten.read()).lost == 2
    assert await forgotten.texts(1) == ["n=5"]
    stranger = Watch(stub, events_pb2.Position(epoch="other", seq=2))
    first = await stranger.read()
    assert (first.position.seq, len(first.events), first.lost) == (5, 0, 0)


async def test_open_stream_obeys_what_is_set(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """A stream that is open falls silent, sends raw responses and ends as told."""
    watch = Watch(stub)
    await watch.read()
    engine.push_raw(pb.WatchEventsResponse(lost=99))
    while (response := await watch.read()).lost != 99:
        assert not response.events
    engine.hang("WatchEvents")
    engine.notify("held back")
    silent = asyncio.create_task(watch.texts(1))
    done, _ = await asyncio.wait([silent], timeout=0.3)
    assert not done
    engine.restore("WatchEvents")
    assert await silent == ["held back"]
    engine.fail("WatchEvents", grpc.StatusCode.UNAVAILABLE)
    assert await watch.end() is grpc.StatusCode.UNAVAILABLE
    engine.restore()
    undecodable = Watch(stub)
    await undecodable.read()
    engine.push_raw(b"\xff\xff\xff")
    async with asyncio.timeout(5):
        while (raw := await undecodable.call.read()) is not None:  # how grpc.aio gives what it cannot decode
            assert raw is not grpc.aio.EOF


async def test_restart_keeps_the_port_and_the_events(
    engine: ScriptedEngine, stub: "engine_service_pb2_grpc.EngineServiceAsyncStub"
) -> None:
    """An engine that restarts ends its streams and can be resumed; with a new epoch it has forgotten."""
    engine.notify("n=1")
    watch = Watch(stub)
    await watch.read()
    await engine.restart()
    assert await watch.end() is not grpc.StatusCode.OK
    response = await stub.GetSystemStatus(pb.GetSystemStatusRequest(), wait_for_ready=True, timeout=5)
    assert response.status.hostname == "scripted"
    assert await Watch(stub, events_pb2.Position(epoch=engine.epoch, seq=0)).texts(1) == ["n=1"]
    engine.new_epoch()
    assert (await Watch(stub).read()).position == events_pb2.Position(epoch=engine.epoch, seq=0)


async def test_port_in_use_is_an_error(engine: ScriptedEngine) -> None:
    """A second engine on the same port does not start."""
    with pytest.raises(OSError, match="cannot listen"):
        await ScriptedEngine(port=engine.port).start()


def test_unknown_method_is_refused() -> None:
    """A misspelled method does not pass silently."""
    with pytest.raises(ValueError, match="GetSystemStatis"):
        ScriptedEngine().hang("GetSystemStatis")
