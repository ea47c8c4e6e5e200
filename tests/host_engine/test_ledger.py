"""The record of jobs on disk."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from engine_events.v1 import events_pb2

from host_engine import ledger
from host_engine.codec import Progress
from host_engine.job import Job, JobSpec
from host_engine.ledger import Ledger
from host_engine.rootdir import Root
from host_engine.threads import Threads
from tests.host_engine.listing import names_in


def job(name: str = "a") -> Job:
    spec = JobSpec(
        job_id="0123456789abcdef",
        job_type=events_pb2.JOB_TYPE_COMPRESS_FILE,
        priority=events_pb2.JOB_PRIORITY_LOW,
        level=9,
        input=("ä", name),
        output=(name + ".zst",),
        bytes_total=10,
    )
    return Job(
        spec,
        status=events_pb2.JOB_STATUS_FAILED,
        progress=Progress(read_bytes=5, written_bytes=3),
        elapsed_s=1.5,
        error="why",
        changed_at_s=12.0,
    )


@asynccontextmanager
async def written(root: Root, data: bytes, failures: list[str]) -> AsyncIterator[Ledger]:
    record = Ledger(root, Threads(2), lambda: data, failures.append)
    task = asyncio.create_task(record.run(), name="ledger under test")
    try:
        yield record
    finally:
        task.cancel()
        await asyncio.wait({task})


def test_jobs_encoded_and_decoded_look_the_same() -> None:
    (again,) = ledger.decode(ledger.encode([job()]))
    assert again.spec == job().spec
    assert again.to_proto(now_s=0, wall_s=0) == job().to_proto(now_s=0, wall_s=0)


async def test_record_settled_is_on_disk(root: Root, folder: Path) -> None:
    async with written(root, ledger.encode([job()]), []) as record:
        record.changed()
        record.changed()
        await asyncio.wait_for(record.settled(), 5)
    assert ledger.read(root)[0].spec == job().spec
    assert names_in(folder) == [".jobs.json"]


async def test_record_that_cannot_be_written_is_told_once_and_holds_nobody_up(root: Root, folder: Path) -> None:
    (folder / ".jobs.json.new").mkdir()
    failures: list[str] = []
    async with written(root, b"{}", failures) as record:
        for _ in range(2):
            record.changed()
            await asyncio.wait_for(record.settled(), 5)
        assert failures == ["the record of compression jobs cannot be written: Is a directory"]
        (folder / ".jobs.json.new").rmdir()
        record.changed()
        await asyncio.wait_for(record.settled(), 5)
    assert (folder / ".jobs.json").read_bytes() == b"{}"


def test_record_missing_is_empty(root: Root) -> None:
    assert ledger.read(root) == []


def damaged(**changes: object) -> bytes:
    record = json.loads(ledger.encode([job()]))
    record["jobs"][0].update(changes)
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b"[" * 100_000,
        b'{"version": 2, "jobs": []}',
        b'{"version": 1, "jobs": [1]}',
        damaged(output=["..", "etc"]),
        damaged(output=[]),
        damaged(output=["a/b"]),
        damaged(output=[None]),
        damaged(job_id="../../x"),
        damaged(status="NONSENSE"),
        damaged(bytes_read="x"),
    ],
)
def test_record_damaged_is_set_aside(root: Root, folder: Path, data: bytes) -> None:
    """The engine starts, removes nothing that a forged record names, and keeps the record for whoever wants to look."""
    (folder / ".jobs.json").write_bytes(data)
    assert ledger.read(root) == []
    assert (folder / ".jobs.json.damaged").read_bytes() == data
