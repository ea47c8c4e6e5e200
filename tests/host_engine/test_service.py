"""The engine as its clients see it, over gRPC."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import zstandard
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.host_engine.inprocess import RunningEngine, refused, running_engine

C_FILE, D_FILE = events_pb2.JOB_TYPE_COMPRESS_FILE, events_pb2.JOB_TYPE_DECOMPRESS_FILE
C_DATA, D_DATA = events_pb2.JOB_TYPE_COMPRESS_DATA, events_pb2.JOB_TYPE_DECOMPRESS_DATA
COMPLETED, FAILED = events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED
CANCELLED, RUNNING = events_pb2.JOB_STATUS_CANCELLED, events_pb2.JOB_STATUS_RUNNING

SLOWEST_LEVEL = 22


def hard(size_mib: int) -> bytes:
    """Bytes that keep zstd busy at its slowest level, for some seconds for each few mebibytes."""
    words = random.Random(1)
    return b" ".join(b"%x" % words.getrandbits(24) for _ in range(size_mib * 160_000))


def health_stub(engine: RunningEngine) -> Any:
    """Its package brings no types."""
    return health_pb2_grpc.HealthStub(engine.channel)


async def slow_job(engine: RunningEngine, name: str = "slow") -> events_pb2.CompressionJob:
    """A job that runs until it is cancelled: many seconds."""
    path = engine.folder / name
    if not path.exists():
        path.write_bytes(hard(24))
    job = await engine.submit(C_FILE, name, level=SLOWEST_LEVEL)
    return await engine.until(job.job_id, RUNNING)


async def test_status_calls_answer_with_this_machine(engine: RunningEngine) -> None:
    status = (await engine.stub.GetSystemStatus(rpc.GetSystemStatusRequest())).status
    assert status.memory_total > 0
    storage = (await engine.stub.GetStorageStatus(rpc.GetStorageStatusRequest())).storage
    assert "/" in [pool.name for pool in storage.pools]
    agents = (await engine.stub.ListAgents(rpc.ListAgentsRequest())).agents
    assert set(agents.agents) == {"collector-system", "collector-storage", "compression-1", "compression-2"}
    assert agents.total_agents == 4


async def test_answers_are_quick_while_jobs_run(engine: RunningEngine) -> None:
    """The median of a hundred calls, with both workers busy on a machine of two cores."""
    await slow_job(engine, "one")
    await slow_job(engine, "two")
    times_s = []
    for _ in range(100):
        begun_s = time.perf_counter()
        await engine.stub.GetSystemStatus(rpc.GetSystemStatusRequest())
        times_s.append(time.perf_counter() - begun_s)
    assert sorted(times_s)[50] < 0.05


async def test_file_compressed_and_decompressed_is_the_same(engine: RunningEngine) -> None:
    content = hard(2)
    (engine.folder / "a").write_bytes(content)
    job = await engine.submit(C_FILE, "a")
    done = await engine.until(job.job_id)
    assert (done.status, done.progress, done.bytes_processed, done.eta_seconds) == (COMPLETED, 100, len(content), 0)
    packed = engine.folder / "a.zst"
    assert done.compression_ratio == pytest.approx(len(content) / packed.stat().st_size)
    assert zstandard.decompress(packed.read_bytes()) == content
    job = await engine.submit(D_FILE, "a.zst", "b")
    done = await engine.until(job.job_id)
    assert (engine.folder / "b").read_bytes() == content
    assert done.compression_ratio == pytest.approx(len(content) / packed.stat().st_size)


async def test_data_goes_to_a_file_named_by_the_job(engine: RunningEngine) -> None:
    job = await engine.submit(C_DATA, data=b"hello" * 100)
    assert (await engine.until(job.job_id)).output_path == f"{job.job_id}.zst"
    packed = (engine.folder / f"{job.job_id}.zst").read_bytes()
    job = await engine.submit(D_DATA, data=packed)
    await engine.until(job.job_id)
    assert (engine.folder / f"{job.job_id}.out").read_bytes() == b"hello" * 100


async def test_job_that_fails_says_why_and_leaves_nothing(engine: RunningEngine) -> None:
    job = await engine.submit(D_DATA, "", "out", data=b"this is not zstd data")
    done = await engine.until(job.job_id)
    assert (done.status, done.error) == (FAILED, "the input is not valid zstd data: Unknown frame descriptor")
    assert engine.files() == set()
    agents = (await engine.stub.ListAgents(rpc.ListAgentsRequest())).agents
    assert agents.error_agents == 1


async def test_submit_refuses_as_the_proto_says(engine: RunningEngine) -> None:
    (engine.folder / "a").write_text("x")
    (engine.folder / "a.zst").write_text("x")
    (engine.folder / "link").symlink_to("/etc/passwd")
    async with refused(grpc.StatusCode.INVALID_ARGUMENT):
        await engine.submit(events_pb2.JOB_TYPE_UNSPECIFIED, "a")
    async with refused(grpc.StatusCode.NOT_FOUND):
        await engine.submit(C_FILE, "nothing")
    for path in ("../a", "/etc/passwd", "link"):
        async with refused(grpc.StatusCode.PERMISSION_DENIED):
            await engine.submit(C_FILE, path, "new")
    async with refused(grpc.StatusCode.ALREADY_EXISTS):
        await engine.submit(C_FILE, "a")
    assert (await engine.jobs()).total_jobs == 0


async def test_submit_beyond_the_bound_is_refused(folder: Path) -> None:
    async with running_engine(folder, workers=1, max_pending_jobs=1) as engine:
        await slow_job(engine)
        await engine.submit(C_DATA, data=b"x")
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            await engine.submit(C_DATA, data=b"x")


async def test_job_running_is_cancelled_and_leaves_nothing(engine: RunningEngine) -> None:
    job = await slow_job(engine)
    begun_s = time.monotonic()
    answer = await engine.stub.CancelCompressionJob(rpc.CancelCompressionJobRequest(job_id=job.job_id))
    assert answer.job.status == RUNNING
    assert answer.job.phase == "stopping"
    assert (await engine.until(job.job_id)).status == CANCELLED
    assert time.monotonic() - begun_s < 5
    assert engine.files() == {"slow"}
    async with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await engine.stub.CancelCompressionJob(rpc.CancelCompressionJobRequest(job_id=job.job_id))
    async with refused(grpc.StatusCode.NOT_FOUND):
        await engine.stub.CancelCompressionJob(rpc.CancelCompressionJobRequest(job_id="nothing"))


async def test_agent_at_work_shows_its_job(engine: RunningEngine) -> None:
    job = await slow_job(engine)
    agents = (await engine.stub.ListAgents(rpc.ListAgentsRequest())).agents
    assert agents.active_agents >= 1
    busy = next(agent for agent in agents.agents.values() if agent.current_task_id == job.job_id)
    assert (busy.status, busy.task_type) == (events_pb2.AGENT_STATE_BUSY, "compress_file")
    assert busy.HasField("task_progress")


async def test_watcher_sees_a_job_from_beginning_to_end(engine: RunningEngine) -> None:
    """Its states in order, the queue, the metrics and the agent's own event."""
    stream = engine.stub.WatchEvents(rpc.WatchEventsRequest())
    responses = aiter(stream)
    first = await anext(responses)
    assert first.HasField("position")
    job = await engine.submit(C_DATA, data=b"x" * 1000)
    statuses: list[int] = []
    types: set[str] = set()
    async with asyncio.timeout(10):
        async for response in responses:
            for event in response.events:
                types.add(event.type)
                if event.key == job.job_id:
                    statuses.append(event.compression_job.status)
                assert event.HasField("observed_at")
            if "agent.task_completed" in types:
                break
    assert statuses[-1] == COMPLETED
    assert statuses == sorted(statuses)
    assert types == {"compression.update", "scheduler.metrics", "agent.task_completed"}
    stream.cancel()


async def test_watcher_of_a_long_job_gets_progress_but_not_too_often(engine: RunningEngine) -> None:
    job = await slow_job(engine)
    seen: list[float] = []
    try:
        async with asyncio.timeout(2.2):
            async for response in engine.stub.WatchEvents(rpc.WatchEventsRequest()):
                seen += [event.compression_job.bytes_processed for event in response.events if event.key == job.job_id]
    except TimeoutError:
        pass
    assert 1 <= len(seen) <= 13
    assert seen == sorted(seen)


async def test_watcher_resuming_gets_what_it_missed(engine: RunningEngine) -> None:
    stream = engine.stub.WatchEvents(rpc.WatchEventsRequest())
    responses = aiter(stream)
    first = await anext(responses)
    stream.cancel()
    job = await engine.submit(C_DATA, data=b"x")
    await engine.until(job.job_id)
    again = engine.stub.WatchEvents(rpc.WatchEventsRequest(after=first.position))
    again_responses = aiter(again)
    missed = await anext(again_responses)
    assert missed.lost == 0
    assert [event.compression_job.status for event in missed.events if event.key == job.job_id] == [COMPLETED]
    again.cancel()


async def test_watcher_that_went_away_frees_its_place(folder: Path) -> None:
    async with running_engine(folder, max_watchers=1) as engine:
        first = engine.stub.WatchEvents(rpc.WatchEventsRequest())
        first_responses = aiter(first)
        await anext(first_responses)
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
            await anext(aiter(engine.stub.WatchEvents(rpc.WatchEventsRequest())))
        first.cancel()
        async with asyncio.timeout(5):
            while True:
                second = engine.stub.WatchEvents(rpc.WatchEventsRequest())
                second_responses = aiter(second)
                try:
                    await anext(second_responses)
                except grpc.aio.AioRpcError:
                    continue
                break
        second.cancel()


async def test_jobs_forgotten_are_not_among_a_watchers_first_states(folder: Path) -> None:
    async with running_engine(folder, kept_jobs=1) as engine:
        forgotten = await engine.submit(C_DATA, data=b"x")
        await engine.until(forgotten.job_id)
        kept = await engine.submit(C_DATA, data=b"x")
        await engine.until(kept.job_id)
        stream = engine.stub.WatchEvents(rpc.WatchEventsRequest())
        responses = aiter(stream)
        first = await anext(responses)
        assert {event.key for event in first.events} == {kept.job_id, "queue", "current"}
        stream.cancel()


async def test_health_and_reflection_stand_beside_it(engine: RunningEngine) -> None:
    for service in ("", "engine_rpc.v1.EngineService"):
        answer = await health_stub(engine).Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, engine.channel))
    asked = reflection.ServerReflectionInfo()
    await asked.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await asked.read()
    assert "engine_rpc.v1.EngineService" in {service.name for service in answer.list_services_response.service}
    await asked.done_writing()
    asked.cancel()


async def test_stop_ends_streams_and_jobs(folder: Path) -> None:
    """Health says so first, watchers see how the work ended and then UNAVAILABLE, and nothing is left behind."""
    async with running_engine(folder) as engine:
        job = await slow_job(engine)
        healths = health_stub(engine).Watch(health_pb2.HealthCheckRequest())
        assert (await healths.read()).status == health_pb2.HealthCheckResponse.SERVING
        stream = engine.stub.WatchEvents(rpc.WatchEventsRequest())
        responses = aiter(stream)
        await anext(responses)
        engine.stop.set()
        assert (await healths.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        last = events_pb2.CompressionJob()
        with pytest.raises(grpc.aio.AioRpcError) as ended:  # noqa: PT012 - the stream is read to its end
            async with asyncio.timeout(5):
                async for response in responses:
                    for event in response.events:
                        if event.key == job.job_id:
                            last = event.compression_job
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (last.status, last.error) == (FAILED, "the engine stopped while this job was running")
        assert engine.files() == {"slow"}
    async with running_engine(folder) as engine:
        assert [(job.status, job.error) for job in (await engine.jobs()).jobs] == [(FAILED, last.error)]
