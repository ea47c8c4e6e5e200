"""Asking on time, one at a time, from behind the breaker."""

import asyncio

import pytest
from engine_events.v1 import events_pb2
from structlog.testing import capture_logs

from engine_bridge.engines import Engine
from engine_bridge.errors import BadAnswer, MethodMissing, Unreachable
from engine_bridge.guard import State
from engine_bridge.poller import poll
from engine_bridge.source import OFF_S, Source
from tests.engine_bridge.fakes import (
    DEAF,
    HANG,
    TOPICS,
    MemoryEngine,
    RecordingFeed,
    in_virtual_time,
    job,
    pass_time,
    queue,
    running,
    seconds,
    source_of,
    status,
)

STATUS = "system.status"
DOWN = Unreachable("down")


async def polled(source: Source, engine: Engine, *, interval_s: float = 5, phase: float = 0.0) -> None:
    await poll(source, engine, interval_s=interval_s, phase=phase, call_timeout_s=2)


def offsets(engine: MemoryEngine, start_s: float, topic: str = STATUS) -> list[float]:
    return [at_s - start_s for at_s in engine.called_at_s(topic)]


@in_virtual_time
async def test_first_call_is_made_at_once_and_the_others_at_every_interval() -> None:
    engine, start_s = MemoryEngine(), seconds()
    async with running(polled(source_of(RecordingFeed()), engine)):
        await pass_time(16)
    assert offsets(engine, start_s) == [0, 5, 10, 15]


@in_virtual_time
async def test_phase_shifts_the_later_calls() -> None:
    """Four topics of one engine spread over the interval."""
    for phase in (0.25, 0.5, 0.75):
        engine, start_s = MemoryEngine(), seconds()
        async with running(polled(source_of(RecordingFeed()), engine, phase=phase)):
            await pass_time(14)
        assert offsets(engine, start_s)[:3] == [0, 5 * phase, 5 + 5 * phase]


@in_virtual_time
async def test_slow_calls_do_not_make_the_grid_drift() -> None:
    engine, start_s = MemoryEngine(), seconds()
    engine.delay_s = 1.5
    async with running(polled(source_of(RecordingFeed()), engine)):
        await pass_time(501)
    assert offsets(engine, start_s) == [5.0 * number for number in range(101)]


@in_virtual_time
async def test_call_longer_than_the_interval_leaves_ticks_out_and_overlaps_none() -> None:
    engine, start_s = MemoryEngine(), seconds()
    engine.delay_s = 1.5
    async with running(polled(source_of(RecordingFeed()), engine, interval_s=1)):
        await pass_time(7)
    assert offsets(engine, start_s) == [0, 2, 4, 6]
    assert engine.most_in_flight[STATUS] == 1


@in_virtual_time
async def test_revivals_during_a_call_do_not_make_it_overlap() -> None:
    engine = MemoryEngine()
    engine.delay_s = 1
    source = source_of(RecordingFeed())
    async with running(polled(source, engine)):
        for _ in range(100):
            source.revive(after_outage=True)
            await pass_time(0.125)
    assert engine.most_in_flight[STATUS] == 1
    assert len(engine.calls) >= 5


@in_virtual_time
async def test_answer_is_published_fresh_and_dated() -> None:
    feed, engine = RecordingFeed(), MemoryEngine()
    engine.answers[STATUS] = [status(42.0)]
    async with running(polled(source_of(feed), engine)):
        await pass_time(1)
    event = feed.latest(STATUS)
    assert event.system_status.cpu_usage == 42.0
    assert not event.freshness.stale
    assert event.observed_at.ToNanoseconds() == int((feed.now_s() - 1) * 1e9)


@in_virtual_time
async def test_stale_event_keeps_the_time_of_the_last_observation() -> None:
    feed, engine = RecordingFeed(), MemoryEngine()
    async with running(polled(source_of(feed), engine)):
        await pass_time(1)
        observed = feed.latest(STATUS).observed_at.ToNanoseconds()
        engine.answers[STATUS] = DOWN
        await pass_time(10)
    event = feed.latest(STATUS)
    assert event.freshness.stale
    assert event.observed_at.ToNanoseconds() == observed
    assert event.freshness.last_update.ToNanoseconds() == observed


@pytest.mark.parametrize(
    ("kind", "waits_s", "fails_within_s", "cancelled"),
    [
        pytest.param(HANG, 1.9, 0.2, 0, id="at its deadline"),
        pytest.param(DEAF, 2.2, 0.1, 1, id="cancelled soon after, where the adapter does not keep it"),
    ],
)
@in_virtual_time
async def test_call_without_an_answer_fails(kind: str, waits_s: float, fails_within_s: float, cancelled: int) -> None:
    feed, engine = RecordingFeed(), MemoryEngine()
    engine.answers[STATUS] = kind
    source = source_of(feed)
    async with running(polled(source, engine)):
        await pass_time(waits_s)
        assert not source.is_failing
        await pass_time(fails_within_s)
        assert source.last_error == "no answer within 2 s"
        assert engine.cancelled_calls == cancelled
    assert feed.of("rpc_error")[0].rpc_error.reason == events_pb2.RPC_ERROR_REASON_RPC_TIMEOUT


@in_virtual_time
async def test_method_that_hangs_leaves_the_other_topics_fresh() -> None:
    """Each source stands behind a breaker of its own."""
    feed, engine = RecordingFeed(), MemoryEngine()
    engine.answers["compression.update"] = HANG
    async with running(*(polled(source_of(feed, topic), engine) for topic in TOPICS)):
        await pass_time(60.1)
    assert len(engine.called_at_s("compression.update")) < 10
    for topic in TOPICS[:3]:
        assert len(engine.called_at_s(topic)) == 13
        assert not any(event.freshness.stale for event in feed.of(topic))


@in_virtual_time
async def test_open_breaker_stops_the_calls_and_not_the_telling() -> None:
    feed, engine, start_s = RecordingFeed(), MemoryEngine(), seconds()
    async with running(polled(source_of(feed, failures=3, reset_s=60), engine)):
        await pass_time(1)
        engine.answers[STATUS] = DOWN
        await pass_time(40)
    assert offsets(engine, start_s) == [0, 5, 10, 15]
    codes = [event.freshness.error_code for event in feed.of(STATUS)]
    assert codes == ["", *["RPC_DISCONNECT"] * 3, *["CIRCUIT_BREAKER_OPEN"] * 5]


@in_virtual_time
async def test_trials_come_when_the_breaker_allows_and_close_it() -> None:
    feed, engine, start_s = RecordingFeed(), MemoryEngine(), seconds()
    engine.answers[STATUS] = DOWN
    async with running(polled(source_of(feed, failures=1, reset_s=10, reset_max_s=20), engine)):
        await pass_time(34)
        del engine.answers[STATUS]
        await pass_time(30)
    assert offsets(engine, start_s)[:5] == [0, 10, 30, 50, 55]
    assert [event.type for event in feed.history if event.HasField("circuit_breaker")] == [
        "circuit_breaker.open",
        "circuit_breaker.half_open",
        "circuit_breaker.open",
        "circuit_breaker.half_open",
        "circuit_breaker.open",
        "circuit_breaker.half_open",
        "circuit_breaker.closed",
    ]
    assert not feed.latest(STATUS).freshness.stale


@in_virtual_time
async def test_cancellation_in_a_call_counts_nothing() -> None:
    """Neither a failure nor, in a trial, a success; and it stays a cancellation."""
    feed, engine = RecordingFeed(), MemoryEngine()
    source = source_of(feed, failures=1)
    engine.answers[STATUS] = DOWN
    async with running(polled(source, engine)):
        await pass_time(1)
    engine.answers[STATUS] = HANG
    source.guard.half_open()
    told = len(feed.history)
    task = asyncio.create_task(polled(source, engine))
    await pass_time(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.guard.state is State.HALF_OPEN
    assert source.guard.consecutive_failures == 1
    assert source.guard.admit() is not None
    assert len(feed.history) == told


@in_virtual_time
async def test_missing_method_is_no_failure_and_is_looked_for_seldom() -> None:
    feed, engine = RecordingFeed(), MemoryEngine()
    source = source_of(feed)
    engine.answers[STATUS] = MethodMissing("no such method")
    async with running(polled(source, engine)):
        await pass_time(OFF_S + 1)
        assert source.off
        assert not source.is_failing
        assert len(engine.calls) == 2
        assert feed.history == []
        del engine.answers[STATUS]
        await pass_time(OFF_S)
        assert not source.off
        assert not feed.latest(STATUS).freshness.stale


@in_virtual_time
async def test_source_that_was_off_and_now_fails_is_asked_at_its_interval() -> None:
    """The engine was replaced by one that has the method, and is in trouble: no slower than any other."""
    engine = MemoryEngine()
    source = source_of(RecordingFeed(), failures=100)
    engine.answers[STATUS] = MethodMissing("no such method")
    async with running(polled(source, engine)):
        await pass_time(1)
        engine.answers[STATUS] = BadAnswer("INTERNAL")
        source.revive(after_outage=True)
        await pass_time(30)
    assert len(engine.calls) >= 7


@in_virtual_time
async def test_state_pushed_during_the_call_is_newer_than_the_answer() -> None:
    feed, engine = RecordingFeed(), MemoryEngine()
    source = source_of(feed, "compression.update")
    engine.answers["compression.update"] = [queue(1), job("a", 60)]
    engine.delay_s = 1
    async with running(polled(source, engine)):
        await pass_time(0.5)
        feed.publish([source.holdings.take(job("a", 100, events_pb2.JOB_STATUS_COMPLETED))])
        await pass_time(1)
    assert feed.latest("compression.update", "a").compression_job.progress == 100


@in_virtual_time
async def test_revived_source_asks_within_a_tenth_of_a_second() -> None:
    """And not all at the same moment: several are revived at once."""
    engine = MemoryEngine()
    source = source_of(RecordingFeed())
    waits = []
    async with running(polled(source, engine)):
        for _ in range(10):
            await pass_time(0.2)
            revived_at_s, calls = seconds(), len(engine.calls)
            source.revive(after_outage=True)
            await pass_time(0.11)
            waits.append(engine.calls[calls][1] - revived_at_s)
    assert all(0 <= wait <= 0.1 for wait in waits)
    assert len(set(waits)) > 1


@in_virtual_time
async def test_mistake_of_the_adapter_is_a_failure_of_its_topic_alone() -> None:
    """It is logged with its traceback, told like any failure, and ends neither this topic's polling nor the others'."""
    feed, engine = RecordingFeed(), MemoryEngine()
    engine.once[STATUS] = KeyError("surprise")
    source = source_of(feed)
    with capture_logs() as logs:
        async with running(polled(source, engine), polled(source_of(feed, "agent.status"), engine)):
            await pass_time(1)
            assert source.last_error == "the adapter failed: KeyError"
            await pass_time(5)
    assert not source.is_failing
    assert not any(event.freshness.stale for event in feed.of("agent.status"))
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["adapter_failed"]
