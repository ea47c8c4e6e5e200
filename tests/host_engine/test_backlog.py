"""Who is next."""

from engine_events.v1 import events_pb2
from hypothesis import given
from hypothesis import strategies as st

from host_engine.backlog import Backlog

PRIORITY = st.sampled_from(
    [
        events_pb2.JOB_PRIORITY_LOW,
        events_pb2.JOB_PRIORITY_NORMAL,
        events_pb2.JOB_PRIORITY_HIGH,
        events_pb2.JOB_PRIORITY_CRITICAL,
    ]
)


@given(jobs=st.lists(st.tuples(PRIORITY, st.booleans()), max_size=200))
def test_jobs_come_out_by_priority_then_by_arrival(jobs: list[tuple[events_pb2.JobPriority.ValueType, bool]]) -> None:
    """And those that were discarded do not come out."""
    backlog = Backlog()
    for number, (priority, _) in enumerate(jobs):
        backlog.add(str(number), priority)
    for number, (_, is_kept) in enumerate(jobs):
        if not is_kept:
            backlog.discard(str(number))
    kept = [(-priority, number) for number, (priority, is_kept) in enumerate(jobs) if is_kept]
    assert len(backlog) == len(kept)
    assert [backlog.take() for _ in kept] == [str(number) for _, number in sorted(kept)]
    assert backlog.take() is None


def test_jobs_discarded_over_and_over_do_not_pile_up() -> None:
    backlog = Backlog()
    for number in range(10_000):
        backlog.add(str(number), events_pb2.JOB_PRIORITY_LOW)
        backlog.discard(str(number))
    assert len(backlog._heap) < 200
