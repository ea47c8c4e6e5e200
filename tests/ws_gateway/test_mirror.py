"""The gateway's copy of the bridge's journal: what is shown of it, and when."""

from collections.abc import Iterable

import pytest
from engine_events.v1 import events_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from eventlog import Gap, Position
from tests.kit.messages import free_data
from tests.ws_gateway.fakes import EPOCH_S, log, state
from ws_gateway.mirror import Mirror


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def mirror_of(
    *events: events_pb2.Event, clock: Clock | None = None, max_log_events: int = 100, max_bytes: int = 1 << 20
) -> Mirror:
    """One that has copied these events of epoch e1."""
    clock = clock or Clock()
    mirror = Mirror(
        max_log_events=max_log_events, max_bytes=max_bytes, clock=clock, wall_clock=lambda: EPOCH_S + clock.now_s
    )
    copy(mirror, "e1", events)
    return mirror


def copy(mirror: Mirror, epoch: str, events: Iterable[events_pb2.Event]) -> None:
    mirror.begin(epoch)
    for event in events:
        mirror.take(event)
    mirror.complete(0)


def seqs(mirror: Mirror, after: int = 0) -> list[int]:
    return [entry.seq for entry in mirror.journal.since(after).entries]


def test_mirror_without_a_bridge_has_no_epoch_and_is_not_connected() -> None:
    mirror = Mirror(max_log_events=1, max_bytes=1)
    assert (mirror.position, mirror.connected, mirror.view.outage) == (Position("", 0), False, None)


def test_copy_has_the_numbers_of_the_original_and_is_where_to_resume() -> None:
    mirror = mirror_of(log(3), state(7))
    mirror.complete(9)
    assert (mirror.position, mirror.connected) == (Position("e1", 9), True)
    assert seqs(mirror) == [3, 7]
    assert [entry.body.seq for entry in mirror.journal.since(0).entries] == [3, 7]


def test_new_epoch_is_shown_only_when_its_copy_is_complete() -> None:
    """Until then clients are shown the old one, and an interrupted copy leaves nothing behind."""
    mirror = mirror_of(log(1), state(2))
    before = mirror.view
    mirror.begin("e2")
    mirror.take(log(1))
    assert (mirror.position, mirror.view) == (Position("e1", 2), before)
    mirror.bridge_lost(1, "rpc_disconnect")
    mirror.complete(2)
    assert (mirror.position, mirror.connected) == (Position("e1", 2), True)
    mirror.begin("e2")
    mirror.take(state(5))
    mirror.complete(6)
    assert (mirror.position, mirror.view.epoch, mirror.connected) == (Position("e2", 6), "e2", True)
    assert seqs(mirror) == [5]


def test_copy_that_is_empty_is_complete_too() -> None:
    """An empty journal is false in Python; its events must not go to the old one."""
    mirror = mirror_of(log(1))
    mirror.begin("e2")
    mirror.take(log(2))
    mirror.lose(2, 3, 1)
    mirror.complete(3)
    assert (mirror.position, seqs(mirror)) == (Position("e2", 3), [2])
    assert isinstance(mirror.journal.since(2), Gap)


def test_loss_upstream_is_passed_on_to_every_reader_from_before_it() -> None:
    mirror = mirror_of(log(1))
    mirror.lose(1, 5, 3)
    mirror.take(log(6))
    mirror.complete(6)
    gap = mirror.journal.since(1)
    assert isinstance(gap, Gap)
    assert (gap.lost, gap.from_seq, gap.to_seq) == (3, 1, 5)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(events_pb2.Event(seq=2, type="NO TYPE"), id="bad type"),
        pytest.param(log(2, text="x" * 2_000_000), id="too large"),
        pytest.param(state(2, text="x" * 2_000_000), id="too large a state"),
    ],
)
def test_event_that_cannot_be_sent_is_counted_and_told_as_lost(refused: events_pb2.Event) -> None:
    """Exactly one, wherever it lies, and the next ones come."""
    mirror = mirror_of(log(1))
    mirror.take(refused)
    assert mirror.journal.head == 2
    mirror.take(log(3))
    mirror.complete(3)
    assert mirror.refused == 1
    gap = mirror.journal.since(1)
    assert isinstance(gap, Gap)
    assert (gap.lost, gap.superseded, gap.from_seq, gap.to_seq) == (1, 0, 1, 2)
    assert seqs(mirror) == [1, 3]


def test_event_that_is_not_after_the_last_one_is_left_out() -> None:
    """What the bridge says twice reaches no client twice."""
    mirror = mirror_of(log(1), state(2))
    mirror.take(log(2, message="again"))
    mirror.take(log(1))
    mirror.complete(2)
    assert seqs(mirror) == [1, 2]
    assert mirror.position == Position("e1", 2)


def test_change_is_announced_when_it_can_be_seen_and_not_before() -> None:
    mirror = mirror_of()
    seen: list[Position] = []
    mirror.on_change = lambda: seen.append(mirror.position)
    mirror.take(log(1))
    mirror.take(log(2))
    assert seen == []
    mirror.complete(2)
    assert seen == [Position("e1", 2)]


def test_outage_keeps_its_beginning_however_often_the_bridge_fails_again() -> None:
    """Its view is the same object, by which clients know that they were told."""
    clock = Clock()
    mirror = mirror_of(state(1), clock=clock)
    announced: list[None] = []
    mirror.on_change = lambda: announced.append(None)
    mirror.bridge_lost(1, "rpc_timeout")
    view = mirror.view
    clock.now_s += 5
    mirror.bridge_lost(2, "rpc_disconnect")
    assert mirror.view is view
    assert view.outage is not None
    assert (view.outage.since_s, view.outage.failures, view.outage.reason) == (EPOCH_S + 1000, 1, "rpc_timeout")
    assert (mirror.connected, len(announced)) == (False, 1)


def test_recovery_with_the_same_epoch_is_another_view() -> None:
    mirror = mirror_of(state(1))
    first = mirror.view
    mirror.bridge_lost(1, "rpc_disconnect")
    mirror.complete(1)
    assert mirror.view is not first
    assert (mirror.view.epoch, mirror.view.outage, mirror.connected) == ("e1", None, True)


def test_view_stays_while_nothing_happens_to_the_bridge() -> None:
    mirror = mirror_of(state(1))
    view = mirror.view
    mirror.take(state(2))
    mirror.complete(2)
    assert mirror.view is view


def test_age_of_a_topic_is_the_time_since_it_was_last_fresh() -> None:
    clock = Clock()
    mirror = mirror_of(state(1), state(2, "agent.status"), log(3), clock=clock)
    clock.now_s += 4
    mirror.take(state(4, "agent.status"))
    mirror.take(state(5, stale=True))
    clock.now_s += 1
    assert mirror.ages_s() == {"agent.status": 1.0, "system.status": 5.0}


def test_age_of_a_topic_that_was_never_seen_fresh_is_what_the_bridge_says() -> None:
    clock = Clock()
    last = Timestamp(seconds=int(EPOCH_S) + 940)
    freshness = events_pb2.Freshness(stale=True, error_code="RPC_DISCONNECT", last_update=last)
    event = events_pb2.Event(seq=1, type="a.b", key="k", freshness=freshness, other=free_data({}))
    assert mirror_of(event, clock=clock).ages_s() == {"a.b": 60.0}


def test_stale_topics_are_those_with_any_state_stale_and_all_of_them_in_an_outage() -> None:
    mirror = mirror_of(state(1), state(2, "compression.update", "job-1", stale=True), state(3, "compression.update"))
    assert mirror.stale_topics() == ["compression.update"]
    mirror.bridge_lost(1, "rpc_disconnect")
    assert mirror.stale_topics() == ["compression.update", "system.status"]
    mirror.take(state(4, "compression.update", "job-1"))
    mirror.complete(4)
    assert mirror.stale_topics() == []


def test_jobs_that_a_fresh_queue_no_longer_lists_make_no_topic_stale() -> None:
    """They stay stale for good; but another job that is pushed makes no stale queue fresh."""
    listing = events_pb2.CompressionQueue()
    queue = events_pb2.Event(seq=3, type="compression.update", key="queue", compression_queue=listing)
    mirror = mirror_of(state(1, stale=True), state(2, "compression.update", "job-1", stale=True), queue)
    assert mirror.stale_topics() == ["system.status"]
    mirror.take(state(4, "compression.update", "queue", stale=True))
    mirror.take(state(5, "compression.update", "job-2"))
    mirror.complete(5)
    assert mirror.stale_topics() == ["compression.update", "system.status"]


def test_stale_topics_of_an_epoch_go_with_it() -> None:
    mirror = mirror_of(state(1, stale=True))
    copy(mirror, "e2", [state(1, "agent.status")])
    assert mirror.stale_topics() == []


def test_stale_state_that_there_was_no_room_for_makes_no_topic_stale() -> None:
    """Nobody is shown it any more, and it may never come again."""
    mirror = mirror_of(state(1, stale=True))
    fresh = [state(seq, "a.b", str(seq)) for seq in range(2, 2 + mirror.journal.max_states)]
    for event in fresh[:-1]:
        mirror.take(event)
    assert mirror.stale_topics() == ["system.status"]
    mirror.take(fresh[-1])
    assert (mirror.journal.evicted_states, mirror.stale_topics()) == (1, [])


def test_ages_are_kept_of_as_many_topics_as_there_is_room_for_states() -> None:
    """Those that were fresh longest ago go first."""
    mirror = mirror_of(state(1), state(2, "agent.status"), state(3))
    for seq in range(4, 2 + mirror.journal.max_states):
        mirror.take(state(seq, f"t{seq}.x"))
    assert {"system.status", "agent.status"} <= mirror.ages_s().keys()
    mirror.take(state(50_000, "one.more"))
    assert len(mirror.ages_s()) == mirror.journal.max_states
    assert "agent.status" not in mirror.ages_s()
    assert "system.status" in mirror.ages_s()


def test_bounds_of_the_copy_are_the_gateways_own() -> None:
    mirror = mirror_of(*(log(seq) for seq in range(1, 11)), max_log_events=4)
    assert seqs(mirror) == [7, 8, 9, 10]
    copy(mirror, "e2", (log(seq) for seq in range(1, 11)))
    assert len(mirror.journal) == 4
