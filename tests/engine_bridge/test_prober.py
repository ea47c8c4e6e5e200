"""How an engine's return is noticed, and what that costs it."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine_bridge.errors import BadAnswer, MethodMissing
from engine_bridge.guard import State
from engine_bridge.poller import poll
from engine_bridge.prober import Prober
from tests.engine_bridge.fakes import (
    DEAF,
    HANG,
    TOPICS,
    MemoryEngine,
    RecordingFeed,
    in_virtual_time,
    pass_time,
    running,
    seconds,
    source_of,
)


class Polling:
    """All topics of an engine, polled every 5 s, with a prober; breakers open at the fifth failure for 60 s."""

    def __init__(self) -> None:
        self.feed = RecordingFeed()
        self.engine = MemoryEngine()
        self.sources = {topic: source_of(self.feed, topic, reset_s=60) for topic in TOPICS}
        self.health: list[bool] = []
        self.prober = Prober(self.engine, list(self.sources.values()), on_health=self.health.append, clock=seconds)

    def states(self) -> set[State]:
        return {source.guard.state for source in self.sources.values()}


@asynccontextmanager
async def polling() -> AsyncIterator[Polling]:
    everything = Polling()
    polls = [
        poll(source, everything.engine, interval_s=5, phase=index / 4, call_timeout_s=2)
        for index, source in enumerate(everything.sources.values())
    ]
    async with running(everything.prober.run(), *polls):
        yield everything


@in_virtual_time
async def test_engine_that_is_well_is_never_probed() -> None:
    async with polling() as at:
        await pass_time(600)
        assert at.engine.health_asked_at_s == []
        assert at.health == []
        assert at.prober.healthy


@in_virtual_time
async def test_engine_that_is_down_is_probed_once_a_second() -> None:
    """For the whole engine, whatever the number of its topics; and that is all the traffic there is."""
    async with polling() as at:
        await pass_time(1)
        at.engine.go_down()
        await pass_time(30)
        asked = at.engine.health_asked_at_s
        assert {later - earlier for earlier, later in itertools.pairwise(asked)} == {1.0}
        assert at.states() == {State.OPEN}
        calls = len(at.engine.calls)
        await pass_time(29)
        assert len(at.engine.calls) == calls


@in_virtual_time
async def test_engine_that_returns_is_asked_for_everything_within_a_second() -> None:
    """Every open breaker goes to half-open at once, instead of after its 60 s."""
    async with polling() as at:
        await pass_time(1)
        at.engine.go_down()
        await pass_time(35)
        assert at.states() == {State.OPEN}
        at.engine.come_back()
        await pass_time(1.2)
        assert at.states() == {State.CLOSED}
        assert not any(at.feed.latest(topic).freshness.stale for topic in TOPICS)


@in_virtual_time
async def test_probing_ends_when_everything_is_well_again() -> None:
    async with polling() as at:
        await pass_time(1)
        at.engine.go_down()
        await pass_time(35)
        at.engine.come_back()
        await pass_time(5)
        asked = len(at.engine.health_asked_at_s)
        await pass_time(600)
        assert len(at.engine.health_asked_at_s) == asked


@in_virtual_time
async def test_health_is_told_when_it_changes() -> None:
    async with polling() as at:
        await pass_time(1)
        for _ in range(2):
            at.engine.go_down()
            await pass_time(35)
            assert not at.prober.healthy
            at.engine.come_back()
            await pass_time(5)
            assert at.prober.healthy
        assert at.health == [False, True, False, True]


@in_virtual_time
async def test_method_that_keeps_failing_on_a_healthy_engine_gets_one_extra_call() -> None:
    """It is left to its interval and its breaker: five calls and one, and then one trial after 60 s."""
    async with polling() as at:
        await pass_time(1)
        at.engine.calls.clear()
        at.engine.answers["agent.status"] = BadAnswer("INTERNAL")
        await pass_time(55)
        assert len(at.engine.called_at_s("agent.status")) == 5, "the breaker's five, one of them early"
        first, second, third, *_ = at.engine.called_at_s("agent.status")
        assert second - first <= 0.1
        assert third - second > 2
        await pass_time(300)
        assert len(at.engine.called_at_s("agent.status")) <= 8
        assert at.health == [], "the engine is healthy"


@in_virtual_time
async def test_blip_of_one_call_is_over_at_once() -> None:
    async with polling() as at:
        await pass_time(1)
        at.engine.once["agent.status"] = BadAnswer("INTERNAL")
        await pass_time(1.61)
        assert [event.freshness.stale for event in at.feed.of("agent.status")] == [False, True, False]


@pytest.mark.parametrize("kind", [HANG, DEAF])
@in_virtual_time
async def test_health_question_without_an_answer_means_down(kind: str) -> None:
    async with polling() as at:
        await pass_time(1)
        at.engine.go_down()
        at.engine.healthy = kind
        await pass_time(10)
        assert at.health == [False]
        assert len(at.engine.health_asked_at_s) >= 7
        assert at.engine.cancelled_calls == (0 if kind == HANG else len(at.engine.health_asked_at_s) - 1)


@in_virtual_time
async def test_engine_that_says_it_does_not_serve_and_answers_is_healthy() -> None:
    """Nothing fails any more, so nobody asks for its health any more: what it last said of it must not stay."""
    async with polling() as at:
        await pass_time(1)
        at.engine.healthy = False
        at.engine.once["agent.status"] = BadAnswer("INTERNAL")
        await pass_time(3)
        assert at.health == [False]
        await pass_time(6)
        assert at.health == [False, True]
        assert at.prober.healthy


@pytest.mark.parametrize("outage_s", [2, 35])
@in_virtual_time
async def test_method_that_was_missing_is_looked_for_when_the_engine_returns(outage_s: float) -> None:
    async with polling() as at:
        at.engine.answers["agent.status"] = MethodMissing("no such method")
        await pass_time(1)
        assert at.sources["agent.status"].off
        at.engine.go_down()
        at.engine.answers["agent.status"] = MethodMissing("no such method")
        await pass_time(outage_s)
        at.engine.come_back()
        await pass_time(2)
        assert not at.sources["agent.status"].off
        assert not at.feed.latest("agent.status").freshness.stale


@in_virtual_time
async def test_method_that_was_missing_and_now_fails_is_not_hammered() -> None:
    """An upgraded engine has the method, and it does not work: no call a second for ever."""
    async with polling() as at:
        at.engine.answers["agent.status"] = MethodMissing("no such method")
        await pass_time(1)
        at.engine.calls.clear()
        at.engine.answers["agent.status"] = BadAnswer("INTERNAL")
        at.engine.answers["system.status"] = BadAnswer("INTERNAL")
        await pass_time(60)
        assert 2 <= len(at.engine.called_at_s("agent.status")) <= 6


@in_virtual_time
async def test_failures_at_the_edge_of_a_probe_are_not_lost() -> None:
    """A source that fails just when the last one recovered is probed for all the same."""
    async with polling() as at:
        for _ in range(20):
            at.engine.go_down()
            await pass_time(7.3)
            at.engine.come_back()
            await pass_time(2.1)
            assert at.states() == {State.CLOSED}, seconds()


@in_virtual_time
async def test_mistake_of_the_adapter_means_down_and_ends_nothing() -> None:
    async with polling() as at:
        await pass_time(1)
        at.engine.go_down()
        at.engine.healthy = KeyError("surprise")
        await pass_time(10)
        assert at.health == [False]
        at.engine.come_back()
        await pass_time(2)
        assert at.health == [False, True]
