"""The breaker against a model of three states, and from all sides."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine_bridge.guard import Guard, State, Ticket
from tests.engine_bridge.fakes import ManualClock

ERROR = RuntimeError("the call failed")


class Watched:
    """A guard, its clock, and what it announced: (state, retry_after_s) at each change."""

    def __init__(self, *, failures: int = 3, reset_s: float = 10, reset_max_s: float = 60) -> None:
        self.clock = ManualClock()
        self.told: list[tuple[State, float]] = []
        self.guard = Guard(
            failures=failures, reset_s=reset_s, reset_max_s=reset_max_s, clock=self.clock, on_change=self._changed
        )

    def _changed(self, state: State) -> None:
        assert state is self.guard.state
        self.told.append((state, self.guard.retry_after_s))

    def state(self) -> State:
        return self.guard.state

    def admit(self) -> Ticket:
        ticket = self.guard.admit()
        assert ticket is not None, "refused"
        return ticket

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.admit().failed(ERROR)

    def open(self) -> None:
        self.fail(3)
        assert self.state() is State.OPEN


def test_guard_below_its_failures_stays_closed() -> None:
    watched = Watched(failures=3)
    watched.fail(2)
    assert watched.state() is State.CLOSED
    assert watched.guard.consecutive_failures == 2
    assert watched.told == []


def test_guard_at_its_failures_opens() -> None:
    watched = Watched(failures=3)
    watched.fail(3)
    assert watched.state() is State.OPEN
    assert watched.guard.admit() is None


def test_success_between_failures_starts_the_count_again() -> None:
    """Failures in a row open a breaker, not failures in all."""
    watched = Watched(failures=3)
    for _ in range(5):
        watched.fail(2)
        watched.admit().succeeded()
    assert watched.state() is State.CLOSED
    assert watched.guard.consecutive_failures == 0


def test_open_guard_admits_a_trial_when_its_time_is_over_and_not_before() -> None:
    watched = Watched(reset_s=10)
    watched.open()
    watched.clock.advance(9.999)
    assert watched.guard.admit() is None
    assert watched.state() is State.OPEN
    watched.clock.advance(0.001)
    assert watched.guard.admit() is not None
    assert watched.state() is State.HALF_OPEN


def test_trial_that_succeeds_closes_the_guard() -> None:
    watched = Watched()
    watched.open()
    watched.clock.advance(10)
    watched.admit().succeeded()
    assert watched.state() is State.CLOSED
    assert watched.guard.consecutive_failures == 0
    assert watched.guard.admit() is not None
    assert watched.guard.admit() is not None


def test_failed_trials_double_the_wait_up_to_the_maximum() -> None:
    """10, 20, 40, 60, 60 … and 10 again after a success. What is announced at the change is the wait itself."""
    watched = Watched(reset_s=10, reset_max_s=60)
    watched.open()
    for _ in range(5):
        watched.clock.advance(watched.guard.retry_after_s)
        watched.fail()
    opened = [wait for state, wait in watched.told if state is State.OPEN]
    assert opened == [10, 20, 40, 60, 60, 60]
    watched.clock.advance(60)
    watched.admit().succeeded()
    watched.open()
    assert watched.told[-1] == (State.OPEN, 10)


def test_maximum_below_the_first_wait_is_the_first_wait() -> None:
    watched = Watched(reset_s=10, reset_max_s=1)
    watched.open()
    watched.clock.advance(10)
    watched.fail()
    assert watched.guard.retry_after_s == 10


def test_changes_are_announced_once_each_in_order() -> None:
    watched = Watched()
    watched.open()
    watched.clock.advance(10)
    watched.fail()
    watched.guard.half_open()
    watched.guard.half_open()
    watched.admit().succeeded()
    assert [state for state, _ in watched.told] == [
        State.OPEN,
        State.HALF_OPEN,
        State.OPEN,
        State.HALF_OPEN,
        State.CLOSED,
    ]


async def test_fifty_callers_at_a_half_open_guard_are_one_call() -> None:
    """pybreaker by itself lets all fifty through, because none of them has ended when the next one asks."""
    watched = Watched()
    watched.open()
    watched.clock.advance(10)
    answer = asyncio.Event()
    asked = 0

    async def call() -> bool:
        nonlocal asked
        ticket = watched.guard.admit()
        if ticket is None:
            return False
        asked += 1
        await answer.wait()
        ticket.succeeded()
        return True

    callers = [asyncio.create_task(call()) for _ in range(50)]
    asyncio.get_running_loop().call_soon(answer.set)
    assert sum(await asyncio.gather(*callers)) == 1
    assert asked == 1
    assert watched.state() is State.CLOSED


async def test_cancelled_trial_records_nothing_and_leaves_room_for_the_next() -> None:
    """A cancellation is no failure of the engine and no success either; and it stays a cancellation."""
    watched = Watched()
    watched.open()
    watched.clock.advance(10)

    async def call() -> None:
        ticket = watched.admit()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ticket.abandoned()
            raise

    task = asyncio.create_task(call())
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.state() is State.HALF_OPEN
    assert watched.guard.consecutive_failures == 3
    assert watched.guard.admit() is not None
    assert watched.guard.admit() is None


def test_late_success_of_an_old_call_does_not_close_an_open_guard() -> None:
    watched = Watched()
    late = watched.admit()
    watched.open()
    late.succeeded()
    assert watched.state() is State.OPEN
    assert watched.guard.consecutive_failures == 3


def test_late_failure_of_an_old_call_does_not_fail_the_trial() -> None:
    watched = Watched()
    late = watched.admit()
    watched.open()
    watched.clock.advance(10)
    trial = watched.admit()
    late.failed(ERROR)
    assert watched.state() is State.HALF_OPEN
    assert watched.guard.admit() is None, "the trial is still under way"
    trial.succeeded()
    assert watched.state() is State.CLOSED


def test_ticket_counts_once_whatever_is_said_later() -> None:
    watched = Watched(failures=3)
    ticket = watched.admit()
    ticket.failed(ERROR)
    ticket.failed(ERROR)
    ticket.failed(ERROR)
    ticket.succeeded()
    assert watched.guard.consecutive_failures == 1
    abandoned = watched.admit()
    abandoned.abandoned()
    abandoned.failed(ERROR)
    assert watched.guard.consecutive_failures == 1


@pytest.mark.parametrize("failures", [0, 1])
def test_half_open_of_a_guard_that_is_not_open_changes_nothing(failures: int) -> None:
    watched = Watched()
    watched.fail(failures)
    watched.guard.half_open()
    assert watched.state() is State.CLOSED
    assert watched.guard.consecutive_failures == failures
    assert watched.told == []


def test_half_open_while_a_trial_is_under_way_admits_no_second_one() -> None:
    watched = Watched()
    watched.open()
    watched.guard.half_open()
    watched.admit()
    watched.guard.half_open()
    assert watched.guard.admit() is None


def test_guard_never_asks_the_wall_clock() -> None:
    """With waits of a microsecond and of a year: only the clock that was given moves anything."""
    short = Watched(reset_s=1e-6, reset_max_s=1e-6)
    short.open()
    assert all(short.guard.admit() is None for _ in range(10_000))
    year = 365 * 86400.0
    long = Watched(reset_s=year, reset_max_s=year)
    long.open()
    long.clock.advance(year)
    long.admit().succeeded()
    assert long.state() is State.CLOSED


def test_error_that_opens_the_guard_is_not_replaced() -> None:
    """The caller's own error goes on unhurt; nothing of pybreaker comes out."""
    watched = Watched(failures=1)
    watched.admit().failed(ERROR)
    assert watched.state() is State.OPEN


class GuardMachine(RuleBasedStateMachine):
    """Any order of callers, outcomes, cancellations, probes and waiting, against a few lines of model."""

    @initialize(failures=st.integers(1, 4), reset_s=st.sampled_from([1.0, 4.0]), doublings=st.integers(0, 3))
    def start(self, failures: int, reset_s: float, doublings: int) -> None:
        self.watched = Watched(failures=failures, reset_s=reset_s, reset_max_s=reset_s * 2**doublings)
        self.limit, self.first_s, self.max_s = failures, reset_s, reset_s * 2**doublings
        self.state, self.failures, self.wait_s, self.until_s = State.CLOSED, 0, reset_s, 0.0
        self.period = 0
        self.trial: Ticket | None = None
        self.tickets: list[tuple[Ticket, int]] = []
        self.expected: list[State] = []

    def move(self, state: State) -> None:
        self.state = state
        self.period += 1
        self.trial = None
        self.expected.append(state)

    @rule()
    def admit(self) -> None:
        now_s = self.watched.clock.now_s
        if self.state is State.OPEN and now_s >= self.until_s:
            self.move(State.HALF_OPEN)
        may = self.state is State.CLOSED or (self.state is State.HALF_OPEN and self.trial is None)
        ticket = self.watched.guard.admit()
        assert (ticket is not None) is may
        if ticket is not None:
            self.tickets.append((ticket, self.period))
            if self.state is State.HALF_OPEN:
                self.trial = ticket

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "failed", "abandoned"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        ticket, period = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        if outcome == "failed":
            ticket.failed(ERROR)
        else:
            getattr(ticket, outcome)()
        if period != self.period:
            return
        if outcome == "abandoned":
            self.trial = None
        elif outcome == "succeeded":
            self.failures = 0
            if self.state is State.HALF_OPEN:
                self.wait_s = self.first_s
                self.move(State.CLOSED)
        else:
            self.failures += 1
            if self.state is State.HALF_OPEN:
                self.wait_s = min(self.wait_s * 2, self.max_s)
            if self.state is State.HALF_OPEN or self.failures >= self.limit:
                self.until_s = self.watched.clock.now_s + self.wait_s
                self.move(State.OPEN)

    @rule()
    def probe(self) -> None:
        self.watched.guard.half_open()
        if self.state is State.OPEN:
            self.move(State.HALF_OPEN)

    @rule(by_s=st.sampled_from([0.5, 1.0, 4.0, 40.0]))
    def wait(self, by_s: float) -> None:
        self.watched.clock.advance(by_s)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "watched"):
            return
        guard = self.watched.guard
        assert guard.state is self.state
        assert guard.consecutive_failures == self.failures
        assert [state for state, _ in self.watched.told] == self.expected
        left_s = max(0.0, self.until_s - self.watched.clock.now_s) if self.state is State.OPEN else 0.0
        assert guard.retry_after_s == left_s


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
