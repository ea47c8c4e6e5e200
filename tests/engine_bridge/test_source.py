"""What is said when a source fails, and how long it rests."""

import asyncio

from engine_events.v1 import events_pb2

from engine_bridge.errors import BadAnswer, CallFailed, TimedOut, Unreachable
from engine_bridge.guard import State, Ticket
from engine_bridge.source import Source
from tests.engine_bridge.fakes import (
    ManualClock,
    RecordingFeed,
    in_virtual_time,
    seconds,
    source_of,
    status,
)

DOWN = Unreachable("UNAVAILABLE: connection refused")


class Bench:
    """A source with one state, and a clock for it."""

    def __init__(self, failures: int = 5) -> None:
        self.clock = ManualClock()
        self.feed = RecordingFeed(clock=self.clock)
        self.source: Source = source_of(self.feed, failures=failures, clock=self.clock)

    def ticket(self) -> Ticket:
        ticket = self.source.guard.admit()
        assert ticket is not None
        return ticket

    def succeed(self) -> None:
        self.source.succeeded(self.ticket())
        self.feed.publish(
            self.source.holdings.answered([status()], asked_at_seq=self.feed.journal.head, last_update_s=0)
        )

    def fail(self, error: CallFailed = DOWN) -> None:
        self.source.failed(self.ticket(), error)

    def errors(self) -> list[events_pb2.RpcError]:
        return [event.rpc_error for event in self.feed.of("rpc_error")]

    def codes(self) -> list[str]:
        return [event.freshness.error_code for event in self.feed.of("system.status")]


def test_first_failure_is_told_at_once() -> None:
    bench = Bench()
    bench.succeed()
    bench.fail()
    (error,) = bench.errors()
    assert error == events_pb2.RpcError(
        reason=events_pb2.RPC_ERROR_REASON_RPC_DISCONNECT,
        error_code="SYSTEM_STATUS_FAILED",
        topic="system.status",
        consecutive_failures=1,
        timestamp=bench.feed.now_s(),
    )


def test_reason_is_that_of_the_failure() -> None:
    reasons = []
    for failure in (DOWN, TimedOut("late"), BadAnswer("INTERNAL")):
        bench = Bench()
        bench.fail(failure)
        reasons.append(bench.errors()[0].reason)
    assert reasons == [
        events_pb2.RPC_ERROR_REASON_RPC_DISCONNECT,
        events_pb2.RPC_ERROR_REASON_RPC_TIMEOUT,
        events_pb2.RPC_ERROR_REASON_RPC_FAILED,
    ]


def test_further_failures_are_told_every_30_seconds() -> None:
    """Readers need to know, not to be flooded; refusals count among them."""
    bench = Bench()
    told_at_s = []
    for _ in range(70):
        before = len(bench.errors())
        ticket = bench.source.guard.admit()
        if ticket is None:
            bench.source.refused()
        else:
            bench.source.failed(ticket, DOWN)
        if len(bench.errors()) > before:
            told_at_s.append(bench.clock.now_s - 1000)
        bench.clock.advance(1)
    assert told_at_s == [0, 30, 60]
    assert bench.errors()[1].reason == events_pb2.RPC_ERROR_REASON_CIRCUIT_OPEN
    assert bench.errors()[1].consecutive_failures >= 5


def test_failure_after_a_success_is_a_first_one_again() -> None:
    bench = Bench()
    bench.fail()
    bench.clock.advance(1)
    bench.succeed()
    bench.clock.advance(1)
    bench.fail()
    assert [error.consecutive_failures for error in bench.errors()] == [1, 1]


def test_failure_after_the_method_was_missing_is_a_first_one_again() -> None:
    bench = Bench()
    bench.fail()
    bench.source.switch_off(bench.ticket())
    bench.clock.advance(1)
    bench.fail()
    assert [error.consecutive_failures for error in bench.errors()] == [1, 1]


def test_failure_says_disconnect_and_refusal_says_breaker_open() -> None:
    """Asked and not answered, or not asked: a reader can tell."""
    bench = Bench(failures=2)
    bench.succeed()
    bench.fail()
    bench.fail()
    bench.source.refused()
    assert bench.codes() == ["", "RPC_DISCONNECT", "RPC_DISCONNECT", "CIRCUIT_BREAKER_OPEN"]


def test_breaker_changes_are_events_in_order() -> None:
    """With the count of failures and the wait that is right at that moment."""
    bench = Bench(failures=2)
    bench.fail()
    bench.fail()
    bench.clock.advance(10)
    bench.fail()
    bench.clock.advance(20)
    bench.succeed()
    changes = [
        (event.type, event.circuit_breaker.consecutive_failures, event.circuit_breaker.retry_after_s)
        for event in bench.feed.history
        if event.HasField("circuit_breaker")
    ]
    assert changes == [
        ("circuit_breaker.open", 2, 10),
        ("circuit_breaker.half_open", 2, 0),
        ("circuit_breaker.open", 3, 20),
        ("circuit_breaker.half_open", 3, 0),
        ("circuit_breaker.closed", 0, 0),
    ]
    assert {event.circuit_breaker.topic for event in bench.feed.history if event.HasField("circuit_breaker")} == {
        "system.status"
    }


def test_states_are_told_stale_before_the_error_is_told() -> None:
    """Whoever reads of the error finds no fresh state before it in the stream."""
    bench = Bench(failures=1)
    bench.succeed()
    bench.fail()
    assert bench.feed.types()[1:] == ["system.status", "circuit_breaker.open", "rpc_error"]


def test_error_and_breaker_events_are_log_events() -> None:
    bench = Bench(failures=1)
    bench.fail()
    assert [event.key for event in bench.feed.history] == ["", ""]


def test_source_without_the_method_is_off_and_not_failing() -> None:
    bench = Bench()
    bench.succeed()
    bench.source.switch_off(bench.ticket())
    assert bench.source.off
    assert not bench.source.is_failing
    assert bench.errors() == []
    assert bench.codes() == ["", "RPC_DISCONNECT"], "what it said before is old"


def test_missing_method_is_said_once() -> None:
    bench = Bench()
    bench.succeed()
    bench.source.switch_off(bench.ticket())
    published = len(bench.feed.history)
    bench.source.switch_off(bench.ticket())
    assert len(bench.feed.history) == published


def test_missing_method_that_comes_back_switches_the_source_on() -> None:
    bench = Bench()
    bench.source.switch_off(bench.ticket())
    bench.succeed()
    assert not bench.source.off
    assert bench.codes() == [""]


def test_last_error_is_there_until_the_next_success() -> None:
    bench = Bench()
    bench.fail()
    assert bench.source.last_error == "UNAVAILABLE: connection refused"
    bench.succeed()
    assert bench.source.last_error == ""


def test_last_error_can_be_sent_whatever_the_engine_wrote() -> None:
    """Its text goes into a protobuf string; a lone surrogate in it would break GetBridgeStatus."""
    bench = Bench()
    bench.fail(BadAnswer("error -1: \ud800"))
    assert bench.source.last_error == "error -1: ?"


def test_each_failure_is_reported_to_whoever_probes() -> None:
    bench = Bench()
    told: list[int] = []
    bench.source.on_failure = lambda: told.append(bench.source.guard.consecutive_failures)
    bench.fail()
    bench.fail()
    assert told == [1, 2]


def test_revival_after_an_outage_allows_a_trial_at_once() -> None:
    bench = Bench(failures=1)
    bench.fail()
    bench.source.revive(after_outage=True)
    assert bench.source.guard.state is State.HALF_OPEN


def test_revival_without_an_outage_leaves_an_open_breaker_alone() -> None:
    """The engine is healthy and this method fails: that is what the breaker is for."""
    bench = Bench(failures=2)
    bench.fail()
    bench.fail()
    bench.source.revive(after_outage=False)
    assert bench.source.guard.state is State.OPEN


@in_virtual_time
async def test_rest_ends_after_its_time() -> None:
    source = source_of(RecordingFeed())
    before_s = seconds()
    assert await source.rest(7) is False
    assert seconds() == before_s + 7


@in_virtual_time
async def test_rest_ends_at_a_revival() -> None:
    source = source_of(RecordingFeed())
    before_s = seconds()
    asyncio.get_running_loop().call_later(2, lambda: source.revive(after_outage=True))
    assert await source.rest(7) is True
    assert seconds() == before_s + 2
    assert await source.rest(7) is False, "one revival ends one rest"


@in_virtual_time
async def test_rest_says_when_it_ends() -> None:
    feed = RecordingFeed()
    source = source_of(feed)
    resting = asyncio.create_task(source.rest(7))
    await asyncio.sleep(0)
    assert source.next_try_s == feed.now_s() + 7
    await resting
    assert source.next_try_s is None


@in_virtual_time
async def test_first_failure_on_a_healthy_engine_is_tried_again_once() -> None:
    """A blip is over at once; a method that keeps failing is left to its interval."""
    source = source_of(RecordingFeed())
    ended_early = []
    for _ in range(4):
        ticket = source.guard.admit()
        assert ticket is not None
        source.failed(ticket, DOWN)
        source.revive(after_outage=False)
        source.revive(after_outage=False)
        ended_early.append(await source.rest(5))
    assert ended_early == [True, False, False, False]


@in_virtual_time
async def test_retry_now_wakes_a_source_that_is_well_and_none_that_fails() -> None:
    source = source_of(RecordingFeed())
    source.retry_now()
    assert await source.rest(5) is True
    ticket = source.guard.admit()
    assert ticket is not None
    source.failed(ticket, DOWN)
    source.retry_now()
    assert await source.rest(5) is False
