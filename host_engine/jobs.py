"""Every compression job that the engine lists. The one place where a job changes its status: there it is logged,
published to the watchers and marked for the record, with no await in between."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

import structlog
from engine_events.v1 import events_pb2

from host_engine import events
from host_engine.backlog import Backlog
from host_engine.errors import JobEnded, NoSuchJob, OutputExists, Stopping, TooManyJobs
from host_engine.job import FINAL, Job, JobSpec

__all__ = ["Jobs"]

log = structlog.get_logger()

Publish: TypeAlias = Callable[[events_pb2.Event], None]

_PENDING, _RUNNING = events_pb2.JOB_STATUS_PENDING, events_pb2.JOB_STATUS_RUNNING
_STANDING = {_PENDING: "waiting", _RUNNING: "running"}


class Jobs:
    """Waiting, running and lately ended jobs: in the order in which they came, or ended."""

    def __init__(self, publish: Publish, *, workers_count: int, max_pending: int, kept: int) -> None:
        """`kept`: ended jobs listed, the latest. `on_change` may be set, to be told of each change of a status."""
        self.on_change: Callable[[], None] = lambda: None
        self._publish = publish
        self._workers_count = workers_count
        self._max_pending = max_pending
        self._kept = kept
        self._jobs: dict[str, Job] = {}
        self._backlog = Backlog()
        self._some_wait = asyncio.Event()
        self._stopping = False
        self._ended_counts = dict.fromkeys(sorted(FINAL), 0)

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def lists(self, job_id: str) -> bool:
        """Whether the engine still lists a job of this id."""
        return job_id in self._jobs

    def restore(self, jobs: list[Job]) -> None:
        """Takes over what an engine before left in its record; what it had not finished has failed with it."""
        for job in jobs:
            self._jobs[job.spec.job_id] = job
            if job.status not in FINAL:
                self._interrupt(job)
        self._forget_oldest()
        for job in self._jobs.values():
            self._publish_job(job)
        self._publish_queue()
        self.on_change()

    def require_room(self) -> None:
        """Stopping, TooManyJobs: why a job would not be accepted now."""
        if self._stopping:
            raise Stopping("the engine is stopping")
        if len(self._backlog) >= self._max_pending:
            log.warning("job_refused", pending_count=len(self._backlog))
            raise TooManyJobs(f"{len(self._backlog)} jobs are waiting already")

    def accept(self, spec: JobSpec) -> Job:
        """The job, waiting. Stopping, TooManyJobs, OutputExists (another job that has not ended will write it)."""
        self.require_room()
        if any(job.spec.output == spec.output and job.status not in FINAL for job in self._jobs.values()):
            raise OutputExists("output_path is about to be written by another job")
        job = Job(spec, changed_at_s=time.time())
        self._jobs[spec.job_id] = job
        self._backlog.add(spec.job_id, spec.priority)
        self._some_wait.set()
        log.info("job_accepted", job_id=spec.job_id, job_type=events_pb2.JobType.Name(spec.job_type))
        self._tell(job)
        return job

    def cancel(self, job_id: str) -> Job:
        """The job: ended if it waited, about to end if it runs. NoSuchJob, JobEnded."""
        job = self._jobs.get(job_id)
        if job is None:
            raise NoSuchJob("the engine lists no job of this id")
        if job.status in FINAL:
            raise JobEnded("the job has ended already")
        job.progress.stop.set()
        if job.status == _PENDING:
            self._backlog.discard(job_id)
            self.end(job, events_pb2.JOB_STATUS_CANCELLED)
        else:
            log.info("job_cancelling", job_id=job_id)
            self._publish_job(job)
        return job

    async def next(self) -> Job:
        """The next job, running from now on; waits for one. Stopping."""
        while not self._stopping:
            job_id = self._backlog.take()
            if job_id is not None:
                job = self._jobs[job_id]
                job.move(_RUNNING, now_s=time.monotonic(), wall_s=time.time())
                log.info("job_started", job_id=job_id)
                self._tell(job)
                return job
            self._some_wait.clear()
            await self._some_wait.wait()
        raise Stopping("the engine is stopping")

    def end(self, job: Job, status: events_pb2.JobStatus.ValueType, error: str = "") -> None:
        """Puts a job into a final status."""
        job.move(status, now_s=time.monotonic(), wall_s=time.time(), error=error)
        self._ended_counts[status] += 1
        log.info(
            "job_ended",
            job_id=job.spec.job_id,
            status=events_pb2.JobStatus.Name(status),
            error=error,
            elapsed_s=job.elapsed_s,
        )
        # the one that ended last is the last to be forgotten
        self._jobs[job.spec.job_id] = self._jobs.pop(job.spec.job_id)
        self._forget_oldest()
        self._tell(job)

    def stopped(self, job: Job) -> None:
        """A running job has stopped because it was told to: on request, or because the engine ends."""
        if self._stopping:
            self._interrupt(job)
            self._tell(job)
        else:
            self.end(job, events_pb2.JOB_STATUS_CANCELLED)

    def stop(self) -> None:
        """Accepts nothing more, fails what waits, tells what runs to stop, and sends the workers home."""
        self._stopping = True
        for job in self.all():
            if job.status == _PENDING:
                self._backlog.discard(job.spec.job_id)
                self._interrupt(job)
                self._tell(job)
            elif job.status == _RUNNING:
                job.progress.stop.set()
        self._some_wait.set()

    def publish_progress(self, job: Job) -> None:
        """Tells the watchers how far a running job is."""
        self._publish_job(job)

    def to_proto(self) -> events_pb2.CompressionQueue:
        now_s, wall_s = time.monotonic(), time.time()
        jobs = [job.to_proto(now_s=now_s, wall_s=wall_s) for job in self._jobs.values()]
        return events_pb2.CompressionQueue(
            jobs=jobs,
            total_running=sum(job.status == _RUNNING for job in jobs),
            total_pending=len(self._backlog),
            total_jobs=len(jobs),
            timestamp=wall_s,
        )

    def _interrupt(self, job: Job) -> None:
        error = f"the engine stopped while this job was {_STANDING[job.status]}"
        log.warning("job_interrupted", job_id=job.spec.job_id, error=error)
        job.move(events_pb2.JOB_STATUS_FAILED, now_s=time.monotonic(), wall_s=time.time(), error=error)

    def _forget_oldest(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.status in FINAL]
        for job_id in ended[: max(0, len(ended) - self._kept)]:
            del self._jobs[job_id]

    def _tell(self, job: Job) -> None:
        self._publish_job(job)
        self._publish_queue()
        self.on_change()

    def _publish_job(self, job: Job) -> None:
        wall_s = time.time()
        self._publish(events.job_changed(job.to_proto(now_s=time.monotonic(), wall_s=wall_s), wall_s))

    def _publish_queue(self) -> None:
        queue = self.to_proto()
        metrics: dict[str, str | float | bool] = {
            "workers": self._workers_count,
            "running": queue.total_running,
            "pending": queue.total_pending,
            "max_pending": self._max_pending,
            "completed": self._ended_counts[events_pb2.JOB_STATUS_COMPLETED],
            "failed": self._ended_counts[events_pb2.JOB_STATUS_FAILED],
            "cancelled": self._ended_counts[events_pb2.JOB_STATUS_CANCELLED],
        }
        self._publish(events.queue_changed(queue, queue.timestamp))
        self._publish(events.free("scheduler.metrics", "current", metrics, queue.timestamp))
