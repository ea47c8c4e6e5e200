"""The journal against a model that keeps everything."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventlog import EVERYTHING, Entry, Gap, Journal, Position, Replay, Topics

TYPES = ["a", "a.b", "c"]
TOPICS = [EVERYTHING, Topics(["a"]), Topics(["a.*"]), Topics(["c", "a.b"])]
EVENT = st.tuples(st.sampled_from(TYPES), st.sampled_from(["", "", "k", "l"]), st.integers(1, 60))


def journal(**bounds: int) -> Journal[Any]:
    return Journal("e", **{"max_log_events": 1000, "max_bytes": 1_000_000, **bounds})


@dataclass
class Model:
    """Every event that ever was, and the definition of each answer in one line."""

    events: list[Entry[Any]] = field(default_factory=list)

    def after(self, seq: int, topics: Topics) -> list[Entry[Any]]:
        return [event for event in self.events if event.seq > seq and topics.matches(event.type)]

    def fold(self, seq: int, topics: Topics) -> list[Entry[Any]]:
        """The events after `seq`, less those that a later state event replaced."""
        after = self.after(seq, topics)
        latest = {(event.type, event.key): event.seq for event in after if event.key}
        return [event for event in after if not event.key or latest[event.type, event.key] == event.seq]


def test_position_of_a_new_journal_is_its_start() -> None:
    assert journal().position == Position("e", 0)
    assert journal().since(0) == Replay([], 0, 0)


def test_journal_holds_its_own_positions_only() -> None:
    """Another epoch's numbers, and numbers not reached yet, mean nothing; the start is everybody's."""
    log = journal()
    log.append("a", "", None, 1)
    assert log.holds(Position("e", 0))
    assert log.holds(Position("e", 1))
    assert log.holds(Position("", 0))
    assert not log.holds(Position("e", 2))
    assert not log.holds(Position("f", 1))
    assert not log.holds(Position("f", 0))
    assert not log.holds(Position("", 1))


def test_append_of_a_number_not_after_the_head_is_refused() -> None:
    log = journal()
    log.append("a", "", None, 1, seq=5)
    with pytest.raises(ValueError, match="number 5 is not after 5"):
        log.append("a", "", None, 1, seq=5)
    assert len(log) == 1


def test_since_with_a_limit_goes_on_from_where_it_stopped() -> None:
    """Reading in slices gives the same entries as reading at once, and the counts add up."""
    log = journal()
    for number in range(40):
        log.append("a", "k" if number % 7 == 3 else "", number, 10)
    seen: list[Entry[Any]] = []
    superseded = position = 0
    while position < log.head:
        part = log.since(position, max_bytes=35)
        assert len(part.entries) <= 4
        seen += part.entries
        superseded += part.superseded
        position = part.through_seq
    whole = log.since(0)
    assert seen == whole.entries
    assert superseded == whole.superseded


def test_gap_upstream_is_told_to_every_later_reader() -> None:
    """A journal that copies another passes on what the other lost: a reader from before the hole is told, one from
    behind it is not."""
    log = journal()
    log.append("a", "", 1, 1, seq=3)
    log.lose(3, 10, 4)
    log.append("a", "", 2, 1, seq=12)
    before = log.since(3)
    assert isinstance(before, Gap)
    assert (before.lost, before.from_seq, before.to_seq) == (4, 3, 10)
    assert before.superseded == 12 - 3 - 1 - 4
    assert log.since(10) == Replay([log.since(11).entries[0]], 1, 12)


def test_holes_are_bounded_and_none_is_forgotten() -> None:
    log = journal()
    for number in range(1, 200):
        log.lose(number * 10 - 5, number * 10, 1)
        log.skip(number * 10)
    gap = log.since(0)
    assert isinstance(gap, Gap)
    assert gap.lost == 199


def test_log_events_go_before_states_when_bytes_run_out() -> None:
    log = journal(max_bytes=100)
    log.append("a", "k", "state", 40)
    for number in range(10):
        log.append("c", "", number, 30)
    assert log.size_bytes <= 100
    assert [entry.body for entry in log.states()] == ["state"]
    gap = log.since(1)
    assert isinstance(gap, Gap)
    assert (gap.lost, log.evicted_logs) == (8, 8)
    assert [entry.body for entry in gap.entries] == [8, 9]


def test_state_that_had_to_go_is_told_as_lost() -> None:
    """A state key that nobody can have room for is not silently missing from what a reader is given."""
    log = journal(max_states=3)
    for key in "klmno":
        log.append("a", key, key, 1)
    assert [entry.key for entry in log.states()] == ["m", "n", "o"]
    gap = log.since(0)
    assert isinstance(gap, Gap)
    assert (gap.lost, log.evicted_states) == (2, 2)


def test_state_that_has_changed_last_is_the_last_to_go() -> None:
    log = journal(max_states=2)
    for key in "kl":
        log.append("a", key, key, 1)
    log.append("a", "k", "k again", 1)
    log.append("a", "m", "m", 1)
    assert [entry.body for entry in log.states()] == ["k again", "m"]


def test_loss_is_told_even_of_types_too_many_to_count() -> None:
    """An engine with a new type for every event cannot make its own losses go unnoticed."""
    log = journal(max_log_events=10)
    for number in range(33_000):
        log.append(f"t{number}", "", None, 1)
    gap = log.since(32_900)
    assert isinstance(gap, Gap)
    assert gap.lost == 90


def test_one_event_over_the_byte_bound_is_still_kept() -> None:
    """The newest event is always delivered, whatever its size: refusing it is for whoever reads it from outside."""
    log = journal(max_bytes=10)
    log.append("a", "", "big", 50)
    assert [entry.body for entry in log.since(0).entries] == ["big"]
    log.append("a", "", "small", 1)
    assert [entry.body for entry in log.since(0).entries] == ["small"]


def test_a_jump_beyond_what_is_counted_gives_an_upper_bound() -> None:
    """After a jump of ten million there are not ten million notes, and still something is said to be skipped."""
    log = journal()
    log.append("a", "", 1, 1)
    log.append("a", "k", 2, 1, seq=10_000_000)
    replay = log.since(1)
    assert isinstance(replay, Replay)
    assert replay.superseded == 10_000_000 - 2


def test_memory_does_not_grow_with_superseded_states() -> None:
    log = journal()
    for number in range(50_000):
        log.append("a", "k", number, 1)
    assert len(log) == 1
    assert log.size_bytes == 1
    assert len(log._entries) < 1000  # the one thing that could grow unseen


class JournalMachine(RuleBasedStateMachine):
    """Any history of appends, with small bounds, and readers with cursors of their own."""

    @initialize(logs=st.integers(1, 8), size=st.integers(50, 400), states=st.integers(1, 6))
    def start(self, logs: int, size: int, states: int) -> None:
        self.log = journal(max_log_events=logs, max_bytes=size, max_states=states)
        self.model = Model()
        self.cursors = dict.fromkeys(range(len(TOPICS)), 0)
        self.folded: dict[int, dict[tuple[str, str], int]] = {index: {} for index in self.cursors}

    @rule(events=st.lists(EVENT, min_size=1, max_size=12))
    def append(self, events: list[tuple[str, str, int]]) -> None:
        for type_, key, size in events:
            self.model.events.append(self.log.append(type_, key, object(), size))

    @precondition(lambda self: self.model.events)
    @rule(which=st.sampled_from(range(len(TOPICS))))
    def read(self, which: int) -> None:
        """A cursor that reads now and then sees the same as one that sees everything, or is told what is missing."""
        answer = self.log.since(self.cursors[which], TOPICS[which])
        self.compare(answer, self.cursors[which], TOPICS[which])
        for entry in answer.entries:
            if entry.key:
                self.folded[which][entry.type, entry.key] = entry.seq
        self.cursors[which] = answer.through_seq
        if self.log.evicted_states == 0:
            assert self.folded[which] == {
                (entry.type, entry.key): entry.seq for entry in self.log.states(TOPICS[which])
            }

    @precondition(lambda self: self.model.events)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        seq = data.draw(st.integers(0, self.log.head))
        topics = data.draw(st.sampled_from(TOPICS))
        self.compare(self.log.since(seq, topics), seq, topics)

    def compare(self, answer: Replay[Any] | Gap[Any], after: int, topics: Topics) -> None:
        whole = self.model.fold(after, topics)
        assert answer.through_seq == self.log.head
        assert [entry.seq for entry in answer.entries] == sorted(entry.seq for entry in answer.entries)
        assert set(map(id, answer.entries)) <= set(map(id, whole)), "nothing but the fold"
        missing = [entry for entry in whole if entry not in answer.entries]
        replaced = len(self.model.after(after, topics)) - len(whole)
        lost = answer.lost if isinstance(answer, Gap) else 0
        assert lost + answer.superseded == len(missing) + replaced
        if self.log.evicted_states == 0:
            assert lost == len(missing), "what is lost is counted exactly"
        else:
            assert lost >= len(missing), "a state that went and came back may be told twice, never not at all"
        if isinstance(answer, Gap):
            assert answer.lost > 0
            assert all(answer.from_seq < entry.seq <= answer.to_seq for entry in missing)

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "log"):
            return
        logs = sum(1 for entry in self.log.since(0).entries if not entry.key)
        assert logs <= self.log.max_log_events
        assert len(self.log.states()) <= self.log.max_states
        assert self.log.size_bytes == sum(entry.size_bytes for entry in self.log.since(0).entries)
        assert self.log.size_bytes <= self.log.max_bytes or len(self.log) == 1


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(st.lists(EVENT, max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_copy_made_by_reading_answers_like_the_original(
    history: list[tuple[str, str, int]], first: int, second: int
) -> None:
    """A journal filled from another's answers (as the gateway's is) gives readers the same entries as the original."""
    original, copy = journal(), journal()
    for number, (type_, key, size) in enumerate(history):
        original.append(type_, key, number, size)
        if number in (first, second):
            copy_from(original, copy)
    copy_from(original, copy)
    for position in range(len(history)):
        theirs, ours = original.since(position), copy.since(position)
        assert [entry.seq for entry in theirs.entries] == [entry.seq for entry in ours.entries]
        assert theirs.superseded == ours.superseded
        assert theirs.through_seq == ours.through_seq


def copy_from(original: Journal[Any], copy: Journal[Any]) -> None:
    for entry in original.since(copy.head).entries:
        copy.append(entry.type, entry.key, entry.body, entry.size_bytes, seq=entry.seq)
    copy.skip(original.head)
