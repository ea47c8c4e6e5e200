"""The list of jobs: who is accepted, who is next, what is told and what is forgotten."""

import pytest
from engine_events.v1 import events_pb2

from host_engine.errors import JobEnded, NoSuchJob, OutputExists, Stopping, TooManyJobs
from host_engine.job import Job, JobSpec
from host_engine.jobs import Jobs

COMPLETED = events_pb2.JOB_STATUS_COMPLETED


class Told:
    """The list under test, and what it told."""

    def __init__(self, *, max_pending: int = 100, kept: int = 100) -> None:
        self.events: list[events_pb2.Event] = []
        self.changes_count = 0
        self.jobs = Jobs(self.events.append, workers_count=1, max_pending=max_pending, kept=kept)
        self.jobs.on_change = self._changed

    def _changed(self) -> None:
        self.changes_count += 1

    def accept(self, number: int, priority: str = "NORMAL") -> Job:
        return self.jobs.accept(spec(number, priority))

    def listed(self) -> list[str]:
        return [job.output_path for job in self.jobs.to_proto().jobs]


def spec(number: int, priority: str = "NORMAL") -> JobSpec:
    return JobSpec(
        job_id=f"{number:016x}",
        job_type=events_pb2.JOB_TYPE_COMPRESS_DATA,
        priority=events_pb2.JobPriority.Value(f"JOB_PRIORITY_{priority}"),
        level=3,
        input=None,
        output=(str(number),),
    )


async def test_job_accepted_is_told_and_recorded() -> None:
    """The job, the queue and the metrics, as states; and the record is to be written."""
    told = Told()
    told.accept(1)
    assert [(event.type, event.key) for event in told.events] == [
        ("compression.update", f"{1:016x}"),
        ("compression.update", "queue"),
        ("scheduler.metrics", "current"),
    ]
    assert told.events[-1].other["pending"] == 1
    assert told.changes_count == 1


async def test_jobs_are_taken_by_priority() -> None:
    told = Told()
    for number, priority in enumerate(["LOW", "NORMAL", "CRITICAL", "HIGH", "NORMAL"]):
        told.accept(number, priority)
    assert [(await told.jobs.next()).spec.output[0] for _ in range(5)] == ["2", "3", "1", "4", "0"]
    queue = told.jobs.to_proto()
    assert (queue.total_running, queue.total_pending, queue.total_jobs) == (5, 0, 5)


async def test_job_beyond_the_bound_is_refused() -> None:
    told = Told(max_pending=2)
    told.accept(1)
    told.accept(2)
    with pytest.raises(TooManyJobs):
        told.accept(3)
    await told.jobs.next()
    told.accept(3)


async def test_job_with_the_output_of_another_is_refused_until_that_has_ended() -> None:
    told = Told()
    first = told.accept(1)
    second = JobSpec("f" * 16, first.spec.job_type, first.spec.priority, 3, None, first.spec.output)
    with pytest.raises(OutputExists):
        told.jobs.accept(second)
    told.jobs.cancel(first.spec.job_id)
    told.jobs.accept(second)


async def test_job_waiting_is_cancelled_at_once() -> None:
    told = Told()
    job = told.accept(1)
    told.jobs.cancel(job.spec.job_id)
    assert job.status == events_pb2.JOB_STATUS_CANCELLED
    assert told.jobs.to_proto().total_pending == 0
    with pytest.raises(JobEnded):
        told.jobs.cancel(job.spec.job_id)


async def test_job_unknown_cannot_be_cancelled() -> None:
    with pytest.raises(NoSuchJob):
        Told().jobs.cancel("1")


async def test_jobs_ended_are_kept_up_to_the_bound_and_the_latest() -> None:
    told = Told(kept=2)
    for number in range(4):
        told.accept(number)
    taken = [await told.jobs.next() for _ in range(4)]
    for job in (taken[3], taken[0], taken[2]):
        told.jobs.end(job, COMPLETED)
    assert told.listed() == ["1", "0", "2"]


async def test_stop_fails_what_waits_and_stops_what_runs() -> None:
    told = Told()
    told.accept(1)
    running = await told.jobs.next()
    waiting = told.accept(2)
    told.jobs.stop()
    assert (waiting.status, waiting.error) == (
        events_pb2.JOB_STATUS_FAILED,
        "the engine stopped while this job was waiting",
    )
    assert running.progress.stop.is_set()
    told.jobs.stopped(running)
    assert running.error == "the engine stopped while this job was running"
    with pytest.raises(Stopping):
        await told.jobs.next()
    with pytest.raises(Stopping):
        told.accept(3)


async def test_jobs_restored_are_failed_unless_they_had_ended() -> None:
    told = Told(kept=3)
    statuses = [COMPLETED, COMPLETED, events_pb2.JOB_STATUS_RUNNING, events_pb2.JOB_STATUS_PENDING]
    told.jobs.restore([Job(spec(number), status=status) for number, status in enumerate(statuses)])
    jobs = told.jobs.to_proto().jobs
    assert [(job.output_path, job.status, job.error) for job in jobs] == [
        ("1", COMPLETED, ""),
        ("2", events_pb2.JOB_STATUS_FAILED, "the engine stopped while this job was running"),
        ("3", events_pb2.JOB_STATUS_FAILED, "the engine stopped while this job was waiting"),
    ]
