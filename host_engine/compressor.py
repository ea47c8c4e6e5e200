"""A compression worker: takes the next job, has a thread do it, and tells how far it is meanwhile."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable

import structlog
from engine_events.v1 import events_pb2

from host_engine import events
from host_engine.errors import JobCancelled, JobFailed, Stopping
from host_engine.execute import OutputLimits, execute
from host_engine.job import Job
from host_engine.jobs import Jobs
from host_engine.ledger import Ledger
from host_engine.rootdir import Root
from host_engine.roster import Worker
from host_engine.threads import Threads

__all__ = ["Compressor"]

log = structlog.get_logger()

# at most five events a second for each job
_LOOK_EVERY_S = 0.2
# compression is the work that can wait: answers and collectors come first on a busy machine
_NICENESS = 10


class Compressor:
    """One of the workers that do compression jobs."""

    def __init__(
        self,
        worker: Worker,
        jobs: Jobs,
        ledger: Ledger,
        root: Root,
        limits: OutputLimits,
        threads: Threads,
        publish: Callable[[events_pb2.Event], None],
    ) -> None:
        self._worker = worker
        self._jobs = jobs
        self._ledger = ledger
        self._root = root
        self._limits = limits
        self._threads = threads
        self._publish = publish

    async def run(self) -> None:
        """Does one job after the other until the engine stops."""
        while True:
            try:
                job = await self._jobs.next()
            except Stopping:
                return
            await self._do(job)

    async def _do(self, job: Job) -> None:
        spec = job.spec
        task_type = events_pb2.JobType.Name(spec.job_type).removeprefix("JOB_TYPE_").lower()
        self._worker.begin(
            spec.job_id,
            task_type,
            now_s=time.monotonic(),
            wall_s=time.time(),
            phase=lambda: job.progress.phase or "starting",
            percent=lambda: job.percent,
        )
        succeeded: bool | None = None
        try:
            # the record must name the job before its temporary file exists, or nobody would remove that after a crash
            await self._ledger.settled()
            await self._wait_for(job)
            succeeded = True
            self._jobs.end(job, events_pb2.JOB_STATUS_COMPLETED)
        except JobCancelled:
            self._jobs.stopped(job)
        except JobFailed as error:
            succeeded = False
            self._jobs.end(job, events_pb2.JOB_STATUS_FAILED, str(error))
        except Exception:
            succeeded = False
            log.exception("job_crashed", job_id=spec.job_id)
            self._jobs.end(job, events_pb2.JOB_STATUS_FAILED, "an internal error of the engine; its log says more")
        finally:
            spent_s = self._worker.finish(succeeded=succeeded, now_s=time.monotonic(), wall_s=time.time())
        data: dict[str, str | float | bool] = {
            "agent_id": self._worker.worker_id,
            "task_id": spec.job_id,
            "task_type": task_type,
            "status": events_pb2.JobStatus.Name(job.status).removeprefix("JOB_STATUS_").lower(),
            "success": bool(succeeded),
            "duration_ms": 1000.0 * spent_s,
            "bytes_processed": job.progress.read_bytes,
            "bytes_written": job.progress.written_bytes,
        }
        self._publish(events.free("agent.task_completed", "", data, time.time()))

    async def _wait_for(self, job: Job) -> None:
        """JobFailed, JobCancelled: as the thread ended."""
        done = self._threads.start(self._worker.worker_id, lambda: self._execute(job))
        told = (0, "")
        while not done.done():
            await asyncio.wait({done}, timeout=_LOOK_EVERY_S)
            now = (job.progress.read_bytes, job.progress.phase)
            if now != told and not done.done():
                told = now
                self._jobs.publish_progress(job)
        done.result()

    def _execute(self, job: Job) -> None:
        if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        execute(self._root, job.spec, job.progress, self._limits)
