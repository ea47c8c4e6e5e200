"""The gRPC adapter against a real server that does what it is told."""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2
from grpc_health.v1 import health_pb2

from engine_bridge.engines.contract import OVERTIME_S, Pushed
from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.errors import BadAnswer, EngineError, MethodMissing, TimedOut, Unreachable
from tests.engine_bridge.fakes import TOPICS
from tests.kit.program import Program
from tests.kit.scripted_engine import ScriptedEngine, notification
from tests.kit.waiting import until

METHODS = {
    "system.status": "GetSystemStatus",
    "storage.update": "GetStorageStatus",
    "agent.status": "ListAgents",
    "compression.update": "ListCompressionJobs",
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine() as server:
        yield server


@pytest.fixture
async def engine(server: ScriptedEngine) -> AsyncIterator[GrpcEngine]:
    engine = GrpcEngine(server.address)
    yield engine
    await engine.close()


async def next_of(stream: AsyncIterator[Pushed]) -> Pushed:
    async with asyncio.timeout(5):
        return await anext(stream)


async def test_fetch_gives_each_topic_as_states(engine: GrpcEngine, server: ScriptedEngine) -> None:
    server.push_job("job-1", progress=50)
    named = {topic: [(event.type, event.key) for event in await engine.fetch(topic, 5)] for topic in engine.topics}
    assert named == {
        "system.status": [("system.status", "current")],
        "storage.update": [("storage.update", "current")],
        "agent.status": [("agent.status", "current")],
        "compression.update": [("compression.update", "queue"), ("compression.update", "job-1")],
    }


async def test_fetch_gives_the_data_as_the_engine_sent_it(engine: GrpcEngine) -> None:
    (system,) = await engine.fetch("system.status", 5)
    assert system.system_status.hostname == "scripted"
    (storage,) = await engine.fetch("storage.update", 5)
    assert storage.storage_update.pools[0].size == 10**12
    (agents,) = await engine.fetch("agent.status", 5)
    assert agents.agent_status.total_agents == 2


async def test_jobs_without_a_name_and_ones_named_queue_are_no_states(
    engine: GrpcEngine, server: ScriptedEngine
) -> None:
    """A job named queue would take the place of the queue. The queue event lists all of them as they are."""
    queue = events_pb2.CompressionQueue(
        jobs=[events_pb2.CompressionJob(job_id=job_id) for job_id in ("", "queue", "a")], total_jobs=3
    )
    server.answer("ListCompressionJobs", engine_service_pb2.ListCompressionJobsResponse(queue=queue))
    events = await engine.fetch("compression.update", 5)
    assert [event.key for event in events] == ["queue", "a"]
    assert len(events[0].compression_queue.jobs) == 3


@pytest.mark.parametrize("topic", TOPICS)
async def test_empty_answer_is_a_bad_answer(engine: GrpcEngine, server: ScriptedEngine, topic: str) -> None:
    """The contract says that the field is always set; figures of zero must not be made of nothing."""
    server.answer(METHODS[topic], b"")
    with pytest.raises(BadAnswer, match="the answer has no"):
        await engine.fetch(topic, 5)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("answer", [b"\xff" * 20, b"\x0a\x7f", b"\x0a\x05\x0a\x03\xff\xff\xff"])
async def test_answer_that_cannot_be_decoded_is_a_bad_answer(
    engine: GrpcEngine, server: ScriptedEngine, topic: str, answer: bytes
) -> None:
    server.answer(METHODS[topic], answer)
    with pytest.raises(BadAnswer, match="cannot be decoded"):
        await engine.fetch(topic, 5)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, MethodMissing),
        (grpc.StatusCode.UNAVAILABLE, Unreachable),
        (grpc.StatusCode.CANCELLED, Unreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOut),
        (grpc.StatusCode.INTERNAL, BadAnswer),
        (grpc.StatusCode.UNKNOWN, BadAnswer),
        (grpc.StatusCode.PERMISSION_DENIED, BadAnswer),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, BadAnswer),
    ],
)
async def test_status_becomes_an_error_of_ours(
    engine: GrpcEngine, server: ScriptedEngine, code: grpc.StatusCode, error: type[EngineError]
) -> None:
    """For calls and for the stream alike, with the engine's own words."""
    server.fail("ListAgents", code, "in words")
    server.fail("WatchEvents", code, "in words")
    with pytest.raises(error, match=f"{code.name}: in words"):
        await engine.fetch("agent.status", 5)
    with pytest.raises(error, match=f"{code.name}: in words"):
        await next_of(engine.watch(None))


async def test_words_of_an_error_are_bounded(engine: GrpcEngine, server: ScriptedEngine) -> None:
    server.fail("ListAgents", grpc.StatusCode.INTERNAL, "x" * 5000)
    with pytest.raises(BadAnswer) as caught:
        await engine.fetch("agent.status", 5)
    assert len(str(caught.value)) == 500


async def test_call_that_hangs_ends_at_its_deadline(engine: GrpcEngine, server: ScriptedEngine) -> None:
    await engine.fetch("agent.status", 5)  # connected
    server.hang("ListAgents")
    with pytest.raises(TimedOut):
        await engine.fetch("agent.status", 0.1)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc 2.33 or newer only")
async def test_calls_that_end_at_their_deadline_leave_nothing_behind(tmp_path: Path) -> None:
    """Those that are cancelled leave a kilobyte each: the reason for OVERTIME_S."""
    async with Program("engine", "tests.soak.engine", listen="--listen", directory=tmp_path) as frozen:
        engine = GrpcEngine(frozen.address)
        await engine.fetch("agent.status", 5)
        frozen.stop()
        before = 0
        for number in range(150):
            if number == 50:
                before = _allocated_bytes()
            with pytest.raises(TimedOut):
                async with asyncio.timeout(0.02 + OVERTIME_S):
                    await engine.fetch("agent.status", 0.02)
        assert _allocated_bytes() - before < 100 * 200
        frozen.cont()
        await engine.close()


def _allocated_bytes() -> int:
    """What malloc has given out and not taken back."""

    class Mallinfo2(ctypes.Structure):
        _fields_ = [
            *((f"before_{number}", ctypes.c_size_t) for number in range(7)),
            ("uordblks", ctypes.c_size_t),
            *((f"behind_{number}", ctypes.c_size_t) for number in range(2)),
        ]

    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Mallinfo2
    gc.collect()
    return int(library.mallinfo2().uordblks)


async def test_engine_that_is_not_there_is_unreachable(server: ScriptedEngine) -> None:
    await server.stop()
    engine = GrpcEngine(server.address)
    with pytest.raises(Unreachable):
        await engine.fetch("agent.status", 5)
    assert not await engine.is_healthy(5)
    await engine.close()


async def test_engine_that_comes_back_is_reached_again(engine: GrpcEngine, server: ScriptedEngine) -> None:
    await engine.fetch("agent.status", 5)
    await server.stop()
    with pytest.raises(Unreachable):
        await engine.fetch("agent.status", 5)
    await server.start()
    async with asyncio.timeout(3):
        while not await engine.is_healthy(1):  # noqa: ASYNC110 - the channel connects by itself; only asking tells
            await asyncio.sleep(0.05)
    assert await engine.fetch("agent.status", 5)


async def test_answer_too_large_for_the_readers_is_refused(engine: GrpcEngine, server: ScriptedEngine) -> None:
    """One event of more than 4 MiB could not be read by a gRPC client with default limits: it would be stuck there."""
    status = events_pb2.SystemStatus()
    for size, words in ((3 << 20, "more than 3145728 bytes"), (17 << 20, "RESOURCE_EXHAUSTED")):
        status.hostname = "h" * size
        server.answer("GetSystemStatus", engine_service_pb2.GetSystemStatusResponse(status=status))
        with pytest.raises(BadAnswer, match=words):
            await engine.fetch("system.status", 5)
    status.hostname = "h" * ((3 << 20) - 1000)
    server.answer("GetSystemStatus", engine_service_pb2.GetSystemStatusResponse(status=status))
    assert await engine.fetch("system.status", 5)


async def test_watch_gives_what_is_pushed_with_its_position(engine: GrpcEngine, server: ScriptedEngine) -> None:
    stream = engine.watch(None)
    first = await next_of(stream)
    assert (list(first.events), first.position, first.lost) == ([], events_pb2.Position(epoch=server.epoch), 0)
    server.notify("one")
    second = await next_of(stream)
    assert [event.notification.message for event in second.events] == ["one"]
    assert second.position == events_pb2.Position(epoch=server.epoch, seq=1)


async def test_large_batch_of_small_events_is_taken(engine: GrpcEngine, server: ScriptedEngine) -> None:
    """Refusing it would mean to be sent it again at every attempt to resume."""
    for _ in range(100):
        server.notify("n" * 100_000)
    stream = engine.watch(events_pb2.Position(epoch=server.epoch))
    await next_of(stream)
    assert len((await next_of(stream)).events) == 100


async def test_watch_after_a_position_goes_on_there(engine: GrpcEngine, server: ScriptedEngine) -> None:
    for number in range(4):
        server.notify(str(number))
    server.forget(2)
    stream = engine.watch(events_pb2.Position(epoch=server.epoch, seq=1))
    first, second = await next_of(stream), await next_of(stream)
    assert first.lost == 1
    assert [event.notification.message for event in second.events] == ["2", "3"]


async def test_watch_of_an_engine_without_positions_says_so(engine: GrpcEngine, server: ScriptedEngine) -> None:
    """None, and not the position 0 of an epoch without a name."""
    server.answer("WatchEvents", engine_service_pb2.WatchEventsResponse(events=[notification("n")]))
    pushed = await next_of(engine.watch(None))
    assert pushed.position is None


async def test_stream_that_ends_is_unreachable(engine: GrpcEngine, server: ScriptedEngine) -> None:
    """With a status of OK too: it is never over."""
    server.answer("WatchEvents", engine_service_pb2.WatchEventsResponse())
    stream = engine.watch(None)
    await next_of(stream)
    with pytest.raises(Unreachable, match="ended its event stream"):
        await next_of(stream)


async def test_message_that_cannot_be_decoded_is_counted(engine: GrpcEngine, server: ScriptedEngine) -> None:
    stream = engine.watch(None)
    await next_of(stream)
    server.push_raw(b"\xff" * 20)
    server.notify("after")
    assert await next_of(stream) == Pushed(rejected=1)
    assert [event.notification.message for event in (await next_of(stream)).events] == ["after"]


async def test_stream_that_is_closed_here_is_closed_there(engine: GrpcEngine, server: ScriptedEngine) -> None:
    stream = engine.watch(None)
    await next_of(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    await until(lambda: server.watchers == 0, within_s=5, what="the engine sees the end")


async def test_read_given_up_closes_the_stream(engine: GrpcEngine, server: ScriptedEngine) -> None:
    """A reader with a deadline leaves no call behind."""
    stream = engine.watch(None)
    await next_of(stream)
    server.hang("WatchEvents")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await anext(stream)
    server.restore("WatchEvents")
    await until(lambda: server.watchers == 0, within_s=5, what="the engine sees the end")


@pytest.mark.parametrize(
    ("status", "healthy"),
    [
        (health_pb2.HealthCheckResponse.SERVING, True),
        (health_pb2.HealthCheckResponse.NOT_SERVING, False),
        (health_pb2.HealthCheckResponse.UNKNOWN, True),
        (77, True),
    ],
)
async def test_health_is_what_the_engine_says(
    engine: GrpcEngine, server: ScriptedEngine, status: int, healthy: bool
) -> None:
    server.set_health(status)
    assert await engine.is_healthy(5) is healthy


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND])
async def test_engine_that_answers_at_all_is_healthy(
    engine: GrpcEngine, server: ScriptedEngine, code: grpc.StatusCode
) -> None:
    server.fail("Check", code)
    assert await engine.is_healthy(5)


async def test_health_answer_that_cannot_be_decoded_is_an_answer(engine: GrpcEngine, server: ScriptedEngine) -> None:
    server.answer("Check", b"\xff" * 10)
    assert await engine.is_healthy(5)


async def test_engine_that_does_not_answer_is_not_healthy(engine: GrpcEngine, server: ScriptedEngine) -> None:
    await engine.fetch("agent.status", 5)
    server.hang("Check")
    assert not await engine.is_healthy(0.1)


async def test_proxy_of_the_environment_is_not_used(server: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC would honour it even for 127.0.0.1."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    engine = GrpcEngine(server.address)
    assert await engine.fetch("agent.status", 5)
    await engine.close()
