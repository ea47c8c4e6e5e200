"""A compression worker at work."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine_events.v1 import events_pb2

from host_engine import ledger
from host_engine.compressor import Compressor
from host_engine.execute import OutputLimits
from host_engine.job import Job, JobSpec
from host_engine.jobs import Jobs
from host_engine.ledger import Ledger
from host_engine.rootdir import Root
from host_engine.roster import Worker
from host_engine.threads import Threads
from tests.host_engine.listing import names_in
from tests.kit.waiting import until


@dataclass
class Bench:
    """A worker with everything that it works with, and what was published."""

    jobs: Jobs
    worker: Worker
    published: list[events_pb2.Event] = field(default_factory=list)
    completed: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, event: events_pb2.Event) -> None:
        self.published.append(event)
        if event.type == "agent.task_completed":
            self.completed.set()

    async def done(self, job: Job) -> dict[str, object]:
        """The data of the worker's own event about its one job."""
        await asyncio.wait_for(self.completed.wait(), 5)
        data: dict[str, object] = {**self.published[-1].other}
        assert data["task_id"] == job.spec.job_id
        return data


@asynccontextmanager
async def working(root: Root) -> AsyncIterator[Bench]:
    bench = Bench(
        Jobs(lambda event: bench.publish(event), workers_count=1, max_pending=10, kept=10),
        Worker("compression-1", "", "", ""),
    )
    threads = Threads(4)
    record = Ledger(root, threads, lambda: ledger.encode(bench.jobs.all()), lambda _reason: None)
    bench.jobs.on_change = record.changed
    limits = OutputLimits(max_bytes=1 << 30, min_free_bytes=0)
    compressor = Compressor(bench.worker, bench.jobs, record, root, limits, threads, bench.publish)
    tasks = [asyncio.create_task(record.run(), name="ledger"), asyncio.create_task(compressor.run(), name="worker")]
    try:
        yield bench
    finally:
        bench.jobs.stop()
        await asyncio.wait_for(tasks[1], 5)
        await asyncio.wait_for(record.settled(), 5)
        tasks[0].cancel()
        await asyncio.wait(tasks)


def spec(data: bytes, job_type: str = "COMPRESS_DATA", level: int = 3) -> JobSpec:
    return JobSpec(
        job_id="0123456789abcdef",
        job_type=events_pb2.JobType.Value(f"JOB_TYPE_{job_type}"),
        priority=events_pb2.JOB_PRIORITY_NORMAL,
        level=level,
        input=None,
        output=("out",),
        data=data,
        bytes_total=len(data),
    )


async def test_worker_tells_of_a_job_that_succeeded(root: Root, folder: Path) -> None:
    async with working(root) as bench:
        job = bench.jobs.accept(spec(b"x" * 1000))
        data = await bench.done(job)
    assert (data["agent_id"], data["task_type"], data["status"]) == ("compression-1", "compress_data", "completed")
    assert data["success"] is True
    assert data["bytes_processed"] == 1000
    assert data["bytes_written"] == (folder / "out").stat().st_size
    assert bench.worker.to_proto(None).success_rate == 1


async def test_worker_tells_of_a_job_that_failed(root: Root, folder: Path) -> None:
    async with working(root) as bench:
        data = await bench.done(bench.jobs.accept(spec(b"not zstd", "DECOMPRESS_DATA")))
    assert (data["status"], data["success"]) == ("failed", False)
    assert bench.worker.to_proto(None).status == events_pb2.AGENT_STATE_ERROR
    assert names_in(folder) == [".jobs.json"]


async def test_worker_goes_on_after_a_job_that_was_cancelled(root: Root, folder: Path) -> None:
    async with working(root) as bench:
        job = bench.jobs.accept(spec(bytes(range(256)) * 200_000, level=19))
        await until(lambda: job.status == events_pb2.JOB_STATUS_RUNNING, within_s=5, what="the job runs")
        bench.jobs.cancel(job.spec.job_id)
        data = await bench.done(job)
        assert (data["status"], data["success"]) == ("cancelled", False)
        assert not bench.worker.to_proto(None).HasField("success_rate")
        bench.completed.clear()
        await bench.done(bench.jobs.accept(dataclasses.replace(spec(b"x"), job_id="f" * 16)))
    assert names_in(folder) == [".jobs.json", "out"]


async def test_worker_begins_only_when_the_record_names_its_job(root: Root) -> None:
    """Or a crash could leave a temporary file that nobody knows of."""
    async with working(root) as bench:
        await bench.done(bench.jobs.accept(spec(b"x")))
        assert [job.spec.job_id for job in ledger.read(root)] == ["0123456789abcdef"]
