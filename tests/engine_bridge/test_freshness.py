"""Which states are published again, fresh or stale."""

from dataclasses import dataclass, field

import pytest
from engine_events.v1 import events_pb2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine_bridge.freshness import Holdings, is_final
from engine_bridge.timestamps import timestamp
from tests.engine_bridge.fakes import ManualClock, RecordingFeed, job, notification, queue, state, status

RUNNING, COMPLETED = events_pb2.JOB_STATUS_RUNNING, events_pb2.JOB_STATUS_COMPLETED
EPOCH_S = 1_700_000_000.0


@dataclass
class Desk:
    """Holdings, the journal that they read, and the time."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(0))

    def __post_init__(self) -> None:
        self.feed = RecordingFeed(clock=self.clock)
        self.holdings = Holdings(self.feed.journal)
        self.last_update_s = 0.0

    def answered(self, *listing: events_pb2.Event, asked_at_seq: int | None = None) -> list[events_pb2.Event]:
        events = self.holdings.answered(
            listing,
            asked_at_seq=self.feed.journal.head if asked_at_seq is None else asked_at_seq,
            last_update_s=self.last_update_s,
        )
        self.last_update_s = self.feed.now_s()
        self.feed.publish(events)
        return events

    def unanswered(self, error_code: str = "RPC_DISCONNECT") -> list[events_pb2.Event]:
        events = self.holdings.unanswered(error_code, last_update_s=self.last_update_s)
        self.feed.publish(events)
        return events

    def pushed(self, event: events_pb2.Event) -> None:
        self.feed.publish([self.holdings.take(event)])

    def latest(self, type: str = "compression.update", key: str = "a") -> events_pb2.Event:
        return self.feed.latest(type, key)


def at(seconds: float) -> float:
    return EPOCH_S + seconds


def last_update_s(event: events_pb2.Event) -> float:
    return event.freshness.last_update.ToNanoseconds() / 1e9


def keys(events: list[events_pb2.Event]) -> list[str]:
    return [event.key for event in events]


def test_listing_is_published_fresh() -> None:
    """With a freshness that is there and says so, as every state event has."""
    desk = Desk()
    desk.answered(status(7.0))
    event = desk.feed.latest("system.status")
    assert event.HasField("freshness")
    assert event.freshness == events_pb2.Freshness()
    assert event.system_status.cpu_usage == 7.0


def test_failure_publishes_the_last_good_data_marked_stale() -> None:
    desk = Desk()
    desk.clock.advance(5)
    desk.answered(status(7.0))
    desk.clock.advance(5)
    desk.unanswered()
    event = desk.feed.latest("system.status")
    assert event.freshness.stale
    assert event.freshness.error_code == "RPC_DISCONNECT"
    assert last_update_s(event) == at(5)
    assert event.system_status.cpu_usage == 7.0


def test_last_update_stays_at_the_first_failure() -> None:
    """However often it fails and for whatever reason, the state was last right when it was last right."""
    desk = Desk()
    desk.answered(status())
    for code in ("RPC_DISCONNECT", "RPC_DISCONNECT", "CIRCUIT_BREAKER_OPEN", "RPC_DISCONNECT"):
        desk.clock.advance(5)
        desk.last_update_s = desk.feed.now_s()  # must not matter any more
        desk.unanswered(code)
        event = desk.feed.latest("system.status")
        assert event.freshness.error_code == code
        assert last_update_s(event) == at(5), "the first failure's"


def test_last_update_of_a_pushed_state_is_when_it_was_pushed() -> None:
    """A state pushed after the last answer was right then, not only at that answer."""
    desk = Desk()
    desk.answered(queue())
    desk.clock.advance(50)
    desk.pushed(job("a", 10))
    desk.clock.advance(5)
    desk.unanswered()
    assert last_update_s(desk.latest()) == at(50)
    assert last_update_s(desk.latest(key="queue")) == at(0)


def test_last_update_of_a_state_of_a_source_that_never_answered_is_when_it_was_pushed() -> None:
    desk = Desk()
    desk.clock.advance(3)
    desk.pushed(job("a", 10))
    desk.clock.advance(100)
    desk.unanswered()
    assert last_update_s(desk.latest()) == at(3)


def test_answer_after_a_failure_is_fresh_again() -> None:
    desk = Desk()
    desk.answered(queue(1), job("a", 10))
    desk.unanswered()
    desk.answered(queue(1), job("a", 10))
    assert not desk.latest().freshness.stale
    assert not desk.latest(key="queue").freshness.stale
    assert not desk.latest().freshness.HasField("last_update")


def test_state_pushed_while_the_question_was_under_way_wins_over_the_answer() -> None:
    """The answer may have been written before the push; a job must not run backwards."""
    desk = Desk()
    asked = desk.feed.journal.head
    desk.pushed(job("a", 100, COMPLETED))
    desk.answered(queue(1), job("a", 60), asked_at_seq=asked)
    assert desk.latest().compression_job.progress == 100


def test_state_pushed_before_the_question_gives_way_to_the_answer() -> None:
    desk = Desk()
    desk.pushed(job("a", 40))
    desk.answered(queue(1), job("a", 60))
    assert desk.latest().compression_job.progress == 60


def test_job_pushed_while_the_question_was_under_way_is_not_missed_in_the_answer() -> None:
    desk = Desk()
    asked = desk.feed.journal.head
    desk.pushed(job("a", 0))
    desk.answered(queue(0), asked_at_seq=asked)
    assert not desk.latest().freshness.stale


def test_unchanged_job_is_not_published_again() -> None:
    """Only its time stamp moved: a thousand finished jobs are not news at every poll."""
    desk = Desk()
    desk.answered(queue(2), job("a", 60, timestamp=1), job("b", 10, timestamp=1))
    assert keys(desk.answered(queue(2), job("a", 60, timestamp=2), job("b", 11, timestamp=2))) == ["queue", "b"]


def test_unchanged_single_state_is_published_at_every_answer() -> None:
    """That it is confirmed is the news."""
    desk = Desk()
    assert keys(desk.answered(status(1.0))) == ["current"]
    assert keys(desk.answered(status(1.0))) == ["current"]


def test_running_job_that_vanished_becomes_stale() -> None:
    """Nobody said how it ended, so what is known of it is old; since the last answer that listed it."""
    desk = Desk()
    desk.answered(queue(1), job("a", 60))
    desk.clock.advance(5)
    desk.answered(queue(0))
    assert desk.latest().freshness.stale
    assert last_update_s(desk.latest()) == at(0)
    assert keys(desk.answered(queue(0))) == ["queue"], "said once"


@pytest.mark.parametrize(
    "end", [events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED, events_pb2.JOB_STATUS_CANCELLED]
)
def test_ended_job_that_vanished_stays_fresh(end: events_pb2.JobStatus.ValueType) -> None:
    """The engine forgets its old jobs; their end is a truth that does not age."""
    desk = Desk()
    desk.answered(queue(1), job("a", 100, end))
    assert keys(desk.answered(queue(0))) == ["queue"]
    assert not desk.latest().freshness.stale


def test_ended_job_that_vanished_during_an_outage_becomes_fresh_again() -> None:
    desk = Desk()
    desk.answered(queue(1), job("a", 100, COMPLETED))
    desk.unanswered()
    assert desk.latest().freshness.stale
    desk.answered(queue(0))
    assert not desk.latest().freshness.stale
    assert keys(desk.answered(queue(0))) == ["queue"]


@pytest.mark.parametrize(
    ("event", "final"),
    [(job("a", status=COMPLETED), True), (job("a", status=RUNNING), False), (queue(), False), (status(), False)],
)
def test_is_final_of_an_ended_job_only(event: events_pb2.Event, final: bool) -> None:
    assert is_final(event) is final


def test_queue_comes_again_at_each_failure_and_jobs_when_their_mark_changes() -> None:
    """A reader sees every failed poll; it does not see a thousand jobs at each."""
    desk = Desk()
    desk.answered(queue(2), job("a"), job("b"))
    assert keys(desk.unanswered("RPC_DISCONNECT")) == ["a", "b", "queue"]
    assert keys(desk.unanswered("RPC_DISCONNECT")) == ["queue"]
    assert keys(desk.unanswered("CIRCUIT_BREAKER_OPEN")) == ["a", "b", "queue"]
    desk.pushed(job("b", 5))
    assert keys(desk.unanswered("CIRCUIT_BREAKER_OPEN")) == ["b", "queue"]


def test_failure_of_a_source_that_holds_nothing_publishes_nothing() -> None:
    assert Desk().unanswered() == []


def test_confirmed_gives_the_stale_states_fresh_and_no_others() -> None:
    desk = Desk()
    desk.pushed(state("scheduler.metrics", "k", load=1))
    desk.pushed(state("scheduler.metrics", "l", load=1))
    desk.unanswered()
    desk.pushed(state("scheduler.metrics", "l", load=2))
    events = desk.holdings.confirmed()
    assert keys(events) == ["k"]
    assert events[0].freshness == events_pb2.Freshness()
    assert events[0].other["load"] == 1


def test_state_that_the_journal_gave_up_is_forgotten() -> None:
    """What was evicted cannot be published again, and holding its name for ever would be a leak."""
    desk = Desk()
    desk.feed.journal.max_states = 2
    desk.answered(job("a"), job("b"), job("c"), job("d"))
    assert len(desk.holdings) == 4
    assert keys(desk.unanswered()) == ["c", "d"]
    assert len(desk.holdings) == 2
    desk.answered(job("e"), job("f"))
    desk.answered(job("e"), job("f"))
    assert len(desk.holdings) == 2


def test_published_state_shares_nothing_with_the_one_before() -> None:
    """The journal's events are what readers are being sent: none may change afterwards."""
    desk = Desk()
    desk.answered(status(1.0))
    before = desk.feed.latest("system.status")
    copy = events_pb2.Event()
    copy.CopyFrom(before)
    desk.unanswered()
    assert before == copy


def test_holdings_of_one_source_leave_those_of_another_alone() -> None:
    desk = Desk()
    desk.answered(status())
    other = Holdings(desk.feed.journal)
    desk.feed.publish(other.answered([queue(0)], asked_at_seq=desk.feed.journal.head, last_update_s=0))
    desk.feed.publish(other.unanswered("RPC_DISCONNECT", last_update_s=0))
    assert not desk.feed.latest("system.status").freshness.stale


def test_timestamp_holds_nanoseconds() -> None:
    assert timestamp(1.5).ToNanoseconds() == 1_500_000_000
    assert timestamp(-0.25).ToNanoseconds() == -250_000_000


class FreshnessMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: fresh means confirmed at the last contact, and the data is the last good.

    A state is confirmed by an answer that lists it, or by a push; an ended job needs no confirmation by listings.
    """

    @initialize()
    def start(self) -> None:
        self.desk = Desk()
        self.asked: int | None = None
        self.confirmed: set[str] = set()
        self.good: dict[str, float] = {}
        self.ended: set[str] = set()
        self.pushed_since_asked: set[str] = set()

    def note(self, key: str, progress: float, end: int) -> None:
        self.confirmed.add(key)
        self.good[key] = progress
        self.ended.discard(key)
        if end == COMPLETED:
            self.ended.add(key)

    @rule()
    def ask(self) -> None:
        self.asked = self.desk.feed.journal.head
        self.pushed_since_asked = set()

    @rule(
        jobs=st.dictionaries(
            st.sampled_from("abc"), st.tuples(st.integers(0, 3), st.sampled_from([RUNNING, COMPLETED]))
        )
    )
    def answer(self, jobs: dict[str, tuple[int, events_pb2.JobStatus.ValueType]]) -> None:
        self.desk.clock.advance(1)
        listing = [job(key, progress, end) for key, (progress, end) in jobs.items()]
        self.desk.answered(*listing, asked_at_seq=self.asked)
        pushed = self.pushed_since_asked if self.asked is not None else set()
        for key, (progress, end) in jobs.items():
            if key not in pushed:
                self.note(key, progress, end)
        self.confirmed = set(jobs) | (self.confirmed & pushed) | self.ended
        self.asked = None

    @rule(key=st.sampled_from("abc"), progress=st.integers(0, 3), end=st.sampled_from([RUNNING, COMPLETED]))
    def push(self, key: str, progress: int, end: events_pb2.JobStatus.ValueType) -> None:
        self.desk.clock.advance(1)
        self.desk.pushed(job(key, progress, end))
        self.note(key, progress, end)
        self.pushed_since_asked.add(key)

    @rule(code=st.sampled_from(["RPC_DISCONNECT", "CIRCUIT_BREAKER_OPEN"]))
    def fail(self, code: str) -> None:
        self.desk.clock.advance(1)
        self.desk.unanswered(code)
        self.confirmed = set()
        self.asked = None

    @rule()
    def notify(self) -> None:
        self.desk.feed.publish([notification("between")])

    @invariant()
    def fresh_is_confirmed(self) -> None:
        if not hasattr(self, "desk"):
            return
        states = {entry.key: entry.body for entry in self.desk.feed.journal.states()}
        assert {key for key, event in states.items() if not event.freshness.stale} == self.confirmed
        for key, event in states.items():
            assert event.compression_job.progress == self.good[key]
            assert event.freshness.stale is (event.freshness.error_code != "")
            assert event.freshness.stale is event.freshness.HasField("last_update")


TestFreshnessMachine = FreshnessMachine.TestCase
TestFreshnessMachine.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
