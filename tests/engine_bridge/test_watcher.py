"""The engine's stream: its deadlines, its breaks, and what it may say."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from engine_events.v1 import events_pb2

from engine_bridge.engines import Pushed
from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.errors import BadAnswer, MethodMissing, Unreachable
from engine_bridge.guard import State
from engine_bridge.watcher import Watcher
from tests.engine_bridge.fakes import (
    HANG,
    TOPICS,
    MemoryEngine,
    RecordingFeed,
    in_virtual_time,
    job,
    notification,
    pass_time,
    running,
    seconds,
    source_of,
    state,
)
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until

DOWN = Unreachable("broke")


class Watching:
    """A watcher beside four polled sources that nobody polls."""

    def __init__(self) -> None:
        self.feed = RecordingFeed()
        self.engine = MemoryEngine()
        self.source = source_of(self.feed, "notification")
        self.polled = {topic: source_of(self.feed, topic) for topic in TOPICS}
        self.watcher = Watcher(self.source, list(self.polled.values()), self.engine)

    def messages(self) -> list[str]:
        return [event.notification.message for event in self.feed.of("notification")]

    def breaker(self) -> State:
        return self.source.guard.state

    def asked(self) -> list[int | None]:
        """The number that each stream was to go on after."""
        return [None if after is None else after.seq for after, _ in self.engine.watched]


@asynccontextmanager
async def watching() -> AsyncIterator[Watching]:
    everything = Watching()
    async with running(everything.watcher.run()):
        yield everything


@in_virtual_time
async def test_pushed_events_are_published_as_they_come() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.push(notification("one"), notification("two"))
        at.engine.push(notification("three"))
        await pass_time(0)
        await pass_time(0.001)
        assert at.messages() == ["one", "two", "three"]


@in_virtual_time
async def test_event_without_a_time_is_given_the_present_and_one_with_keeps_it() -> None:
    async with watching() as at:
        await pass_time(1)
        dated = notification("dated")
        dated.observed_at.FromSeconds(123)
        at.engine.push(dated, notification("undated"))
        await pass_time(1)
        first, second = at.feed.of("notification")
        assert first.observed_at.seconds == 123
        assert second.observed_at.ToNanoseconds() == int((at.feed.now_s() - 1) * 1e9)


@in_virtual_time
async def test_stream_without_a_first_message_fails_after_5_seconds() -> None:
    async with watching() as at:
        at.engine.first = HANG
        await pass_time(4.9)
        assert not at.source.is_failing
        await pass_time(0.2)
        assert at.source.is_failing
        (error,) = at.feed.of("rpc_error")
        assert error.rpc_error.reason == events_pb2.RPC_ERROR_REASON_RPC_TIMEOUT
        assert error.rpc_error.topic == "notification"


@in_virtual_time
async def test_stream_that_is_silent_fails_after_15_seconds() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.push(notification("one"))
        await pass_time(14.9)
        assert at.feed.of("rpc_error") == []
        await pass_time(0.4)
        assert len(at.feed.of("rpc_error")) == 1
        assert len(at.engine.watched) == 2


@in_virtual_time
async def test_stream_that_says_it_is_alive_stands() -> None:
    """Empty messages are enough."""
    async with watching() as at:
        for _ in range(30):
            await pass_time(14)
            at.engine.push()
        assert len(at.engine.watched) == 1
        assert at.feed.history == []


@in_virtual_time
async def test_break_is_told_and_the_stream_resumed_after_its_position() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.push(notification("one"), position=7)
        at.engine.push(notification("two"), position=8)
        at.engine.send(DOWN)
        await pass_time(1)
        assert at.asked() == [None, 8]
        (error,) = at.feed.of("rpc_error")
        assert (error.rpc_error.error_code, error.rpc_error.consecutive_failures) == ("NOTIFICATION_FAILED", 1)
        assert not at.source.is_failing


@in_virtual_time
async def test_engine_that_cannot_resume_is_asked_from_now_on() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.push(notification("one"))
        at.engine.send(DOWN)
        await pass_time(1)
        assert at.asked() == [None, None]


@in_virtual_time
async def test_break_makes_the_polled_sources_look_at_once() -> None:
    """A broken stream is the first sign of an engine that has gone: stale is told within half a second."""
    async with watching() as at:
        await pass_time(1)
        at.engine.send(DOWN)
        await pass_time(0.001)
        assert [await source.rest(1) for source in at.polled.values()] == [True] * 4


@in_virtual_time
async def test_waits_between_broken_streams_grow() -> None:
    """Up to 5 s, less chance: an engine that comes up is not met by a storm."""
    async with watching() as at:
        at.source.guard.admit()
        for _ in range(40):
            await pass_time(5.01)
            at.engine.send(DOWN)
        opened = [at_s for _, at_s in at.engine.watched]
        waits = [later - earlier for earlier, later in itertools.pairwise(opened)]
        assert len(opened) >= 20
        assert max(waits) > 5.3, "some waits are longer than the first"


@in_virtual_time
async def test_stream_that_stood_makes_the_next_break_a_new_one() -> None:
    async with watching() as at:
        for _ in range(8):
            await pass_time(6)
            at.engine.send(DOWN)
        await pass_time(6)
        for _ in range(10):
            for _ in range(4):
                at.engine.push()
                await pass_time(10)
            at.engine.push()
            await pass_time(0.001)
            streams, broke_at_s = len(at.engine.watched), seconds()
            at.engine.send(DOWN)
            await pass_time(0.3)
            assert len(at.engine.watched) == streams + 1
            assert at.engine.watched[-1][1] - broke_at_s <= 0.2


@in_virtual_time
async def test_breaker_opens_for_a_stream_that_never_comes() -> None:
    """After five failures it is tried when the breaker allows it."""
    async with watching() as at:
        at.engine.first = DOWN
        await pass_time(10)
        assert at.breaker() is State.OPEN
        assert len(at.engine.watched) == 5
        at.engine.first = Pushed()
        await pass_time(10)
        assert at.breaker() is State.CLOSED
        assert len(at.engine.watched) == 6


@in_virtual_time
async def test_engine_without_a_stream_is_no_failure_and_is_looked_at_when_revived() -> None:
    async with watching() as at:
        at.engine.first = MethodMissing("no such method")
        await pass_time(100)
        assert at.source.off
        assert at.feed.history == []
        assert len(at.engine.watched) == 1
        at.engine.first = Pushed()
        at.source.revive(after_outage=True)
        await pass_time(1)
        at.engine.push(notification("here"))
        await pass_time(1)
        assert not at.source.off
        assert at.messages() == ["here"]


@in_virtual_time
async def test_stream_that_ends_without_an_error_is_a_break() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.send(None)
        await pass_time(0.001)
        assert len(at.feed.of("rpc_error")) == 1


@in_virtual_time
async def test_lost_events_are_told_as_a_notification() -> None:
    """At the place where they are missing."""
    async with watching() as at:
        await pass_time(1)
        at.engine.push(notification("before"))
        at.engine.push(notification("after"), lost=3)
        await pass_time(1)
        assert at.messages() == ["before", "3 events of the engine were gone before they could be read", "after"]
        assert at.feed.of("notification")[1].notification.level == events_pb2.NOTIFICATION_LEVEL_WARNING


@in_virtual_time
async def test_malformed_reserved_and_oversized_events_are_counted_and_the_others_pass() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.push(
            notification("first"),
            events_pb2.Event(type="BAD"),
            events_pb2.Event(type="circuit_breaker.open"),
            notification("n" * (257 << 10)),
            state("x", "k" * 257),
            notification("last"),
        )
        await pass_time(1)
        assert at.messages() == ["first", "last"]
        assert at.source.rejected == 4


@in_virtual_time
async def test_hundred_thousand_types_are_bounded() -> None:
    async with watching() as at:
        await pass_time(1)
        for thousand in range(5):
            at.engine.push(*(state(f"t.{thousand * 1000 + number}", "") for number in range(1000)))
        await pass_time(1)
        assert len(set(at.feed.types())) == 1000
        assert at.source.rejected == 4000


@in_virtual_time
async def test_unreadable_messages_are_counted_and_the_stream_goes_on() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.send(Pushed(rejected=1))
        at.engine.push(notification("next"))
        await pass_time(1)
        assert at.source.rejected == 1
        assert at.messages() == ["next"]
        assert len(at.engine.watched) == 1


@in_virtual_time
async def test_pushed_state_of_a_polled_topic_belongs_to_the_polled_source() -> None:
    """When the stream breaks, a job that is still being polled is not stale."""
    async with watching() as at:
        await pass_time(1)
        at.engine.push(job("a", 5), state("scheduler.metrics"))
        await pass_time(1)
        assert (len(at.polled["compression.update"].holdings), len(at.source.holdings)) == (1, 1)
        at.engine.first = DOWN
        at.engine.send(DOWN)
        await pass_time(0.001)
        assert not at.feed.latest("compression.update", "a").freshness.stale
        assert at.feed.latest("scheduler.metrics").freshness.stale


@in_virtual_time
async def test_pushed_state_of_a_topic_that_is_off_belongs_to_the_stream() -> None:
    """Nobody else would ever say that it is old."""
    async with watching() as at:
        ticket = at.polled["compression.update"].guard.admit()
        assert ticket is not None
        at.polled["compression.update"].switch_off(ticket)
        await pass_time(1)
        at.engine.push(job("a", 5))
        await pass_time(1)
        at.engine.first = DOWN
        at.engine.send(DOWN)
        await pass_time(0.001)
        assert at.feed.latest("compression.update", "a").freshness.stale


@in_virtual_time
async def test_own_states_are_fresh_again_when_the_stream_is_resumed() -> None:
    """The engine sends only what changed after the position: nothing came, so what was known holds."""
    async with watching() as at:
        await pass_time(1)
        at.engine.push(state("scheduler.metrics", load=1), position=7)
        await pass_time(1)
        at.engine.send(DOWN)
        at.engine.first = Pushed((), events_pb2.Position(epoch="m", seq=7))
        await pass_time(1)
        assert [event.freshness.stale for event in at.feed.of("scheduler.metrics")] == [False, True, False]


@pytest.mark.parametrize(("before", "position"), [("m", None), ("m", "another"), ("m", ""), ("", ""), ("", "m")])
@in_virtual_time
async def test_own_states_stay_stale_when_the_engine_begins_anew(before: str, position: str | None) -> None:
    """It sends its present states then: what is not among them is not known. An epoch without a name tells nothing."""
    async with watching() as at:
        await pass_time(1)
        known = (state("scheduler.metrics", load=1), state("gone.metrics"))
        at.engine.send(Pushed(known, events_pb2.Position(epoch=before, seq=7)))
        await pass_time(1)
        at.engine.send(DOWN)
        now = None if position is None else events_pb2.Position(epoch=position, seq=7)
        at.engine.first = Pushed((state("scheduler.metrics", load=2),), now)
        await pass_time(1)
        assert not at.feed.latest("scheduler.metrics").freshness.stale
        assert at.feed.latest("gone.metrics").freshness.stale


@in_virtual_time
async def test_resumed_stream_does_not_speak_for_a_polled_source_that_fails() -> None:
    """The job was pushed while compression was off; it is polled now: only a poll makes it fresh."""
    async with watching() as at:
        compression = at.polled["compression.update"]
        compression.off = True
        await pass_time(1)
        at.engine.push(job("a", 5), position=7)
        await pass_time(1)
        compression.off = False
        at.engine.send(DOWN)
        at.engine.first = Pushed((), events_pb2.Position(epoch="m", seq=7))
        await pass_time(1)
        assert at.feed.latest("compression.update", "a").freshness.stale


@in_virtual_time
async def test_cancelled_watcher_counts_nothing() -> None:
    for first in (Pushed(), HANG):
        watched = Watching()
        watched.engine.first = first
        async with running(watched.watcher.run()):
            await pass_time(1)
        assert not watched.source.is_failing
        assert watched.feed.history == []


@in_virtual_time
async def test_last_success_is_the_last_message() -> None:
    """From it comes the time at which the stream's states were last right."""
    async with watching() as at:
        await pass_time(1)
        at.engine.push(state("scheduler.metrics"))
        for _ in range(3):
            await pass_time(10)
            at.engine.push()
        await pass_time(0.001)
        last_s = at.feed.now_s()
        await pass_time(3)
        at.engine.first = DOWN
        at.engine.send(DOWN)
        await pass_time(0.001)
        told = at.feed.latest("scheduler.metrics").freshness.last_update.ToNanoseconds() / 1e9
        assert told == pytest.approx(last_s, abs=0.01)


@in_virtual_time
async def test_failure_reason_is_that_of_the_stream() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.send(BadAnswer("INTERNAL: broken"))
        await pass_time(0.001)
        assert at.feed.of("rpc_error")[0].rpc_error.reason == events_pb2.RPC_ERROR_REASON_RPC_FAILED


@in_virtual_time
async def test_mistake_of_the_adapter_is_a_break_and_ends_nothing() -> None:
    async with watching() as at:
        await pass_time(1)
        at.engine.send(KeyError("surprise"))
        await pass_time(0.001)
        assert at.source.last_error == "the adapter failed: KeyError"
        await pass_time(1)
        at.engine.push(notification("after"))
        await pass_time(1)
        assert at.messages() == ["after"]


# ---- over real sockets


@asynccontextmanager
async def watched_over_grpc(engine: ScriptedEngine) -> AsyncIterator[RecordingFeed]:
    feed = RecordingFeed()
    adapter = GrpcEngine(engine.address)
    polled = [source_of(feed, topic) for topic in TOPICS]
    watcher = Watcher(source_of(feed, "notification", failures=50), polled, adapter)
    async with running(watcher.run()):
        yield feed
    await adapter.close()


def numbers(feed: RecordingFeed) -> list[str]:
    return [event.notification.message for event in feed.of("notification")]


async def test_events_pushed_around_breaks_arrive_once_each_in_order() -> None:
    """While the stream stands, while it is broken, and just before it breaks; over five restarts of the server."""
    async with ScriptedEngine() as engine, watched_over_grpc(engine) as feed:
        await engine.wait_called("WatchEvents")
        await until(lambda: engine.watchers == 1, within_s=5, what="the stream stands")
        expected = []
        for number in range(5):
            for moment in ("standing", "breaking"):
                engine.notify(f"{number} {moment}")
                expected.append(f"{number} {moment}")
                if moment == "standing":
                    await until(lambda: numbers(feed) == expected, within_s=5, what="the event came")
            await engine.stop()
            engine.notify(f"{number} away")
            expected.append(f"{number} away")
            await engine.start()
            await until(lambda: len(numbers(feed)) >= len(expected), within_s=10, what="everything came")
            assert numbers(feed) == expected


async def test_events_that_the_engine_forgot_meanwhile_are_told_lost() -> None:
    async with ScriptedEngine() as engine, watched_over_grpc(engine) as feed:
        engine.notify("one")
        await until(lambda: engine.watchers == 1, within_s=5, what="the stream stands")
        engine.notify("two")
        await until(lambda: numbers(feed)[-1:] == ["two"], within_s=5, what="the event came")
        await engine.stop()
        for number in range(4):
            engine.notify(f"away {number}")
        engine.forget(5)
        await engine.start()
        await until(lambda: "away 3" in numbers(feed), within_s=10, what="what is left came")
        assert numbers(feed)[-2:] == ["3 events of the engine were gone before they could be read", "away 3"]


async def test_unreadable_bytes_in_the_stream_are_counted_and_what_follows_arrives() -> None:
    """Bad UTF-8 is no reason to lose the stream, let alone the bridge."""
    async with ScriptedEngine() as engine:
        feed = RecordingFeed()
        source = source_of(feed, "notification")
        adapter = GrpcEngine(engine.address)
        async with running(Watcher(source, [], adapter).run()):
            await until(lambda: engine.watchers == 1, within_s=5, what="the stream stands")
            engine.push_raw(b"\x12\x05\x12\x03\xff\xff\xff")
            engine.push_raw(b"\xff" * 10)
            engine.notify("after")
            await until(lambda: "after" in numbers(feed), within_s=5, what="the next event came")
        await adapter.close()
        assert source.rejected == 2
        assert engine.calls["WatchEvents"] == 1


async def test_state_of_the_engines_own_is_fresh_after_a_break() -> None:
    async with ScriptedEngine() as engine, watched_over_grpc(engine) as feed:
        await until(lambda: engine.watchers == 1, within_s=5, what="the stream stands")
        engine.push_other("scheduler.metrics", {"load": 1}, key="current")
        await until(lambda: len(feed.of("scheduler.metrics")) == 1, within_s=5, what="the state came")
        await engine.restart()
        await until(lambda: len(feed.of("scheduler.metrics")) == 3, within_s=10, what="the state is confirmed")
        assert [event.freshness.stale for event in feed.of("scheduler.metrics")] == [False, True, False]
