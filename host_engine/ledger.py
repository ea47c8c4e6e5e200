"""The jobs' record on disk, `.jobs.json` in ROOT, so that a restart forgets no job and leaves no half output.

Written whole and atomically, in a thread, when a job changes its status; never for progress.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from engine_events.v1 import events_pb2

from host_engine.codec import Progress
from host_engine.job import Job, JobSpec
from host_engine.rootdir import LEDGER_NAME, Root
from host_engine.threads import Threads

__all__ = ["Ledger", "decode", "encode", "read"]

log = structlog.get_logger()

_VERSION = 1
_MAX_BYTES = 64 << 20
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Ledger:
    """Saves what `snapshot` gives whenever somebody says that it changed; changes during a write share the next one."""

    def __init__(
        self, root: Root, threads: Threads, snapshot: Callable[[], bytes], tell_failed: Callable[[str], None]
    ) -> None:
        """`tell_failed`: told once, with a reason for people, when writing begins to fail."""
        self._root = root
        self._threads = threads
        self._snapshot = snapshot
        self._tell_failed = tell_failed
        self._wanted = 0
        self._tried = 0
        self._failing = False
        self._wake = asyncio.Event()
        self._done = asyncio.Event()

    def changed(self) -> None:
        self._wanted += 1
        self._wake.set()

    async def settled(self) -> None:
        """Returns when everything that changed until now is on disk, or could not be written (which is told)."""
        wanted = self._wanted
        while self._tried < wanted:
            await self._done.wait()

    async def run(self) -> None:
        """Writes, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            writing, data = self._wanted, self._snapshot()
            try:
                await self._threads.run("ledger", partial(_replace, self._root, data))
            except Exception as error:  # noqa: BLE001 - the engine works on without its record
                self._failed(error)
            else:
                if self._failing:
                    log.info("ledger_written_again")
                self._failing = False
            self._tried = writing
            done, self._done = self._done, asyncio.Event()
            done.set()

    def _failed(self, error: Exception) -> None:
        log.error("ledger_not_written", error=str(error))
        if not self._failing:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "an internal error"
            self._tell_failed(f"the record of compression jobs cannot be written: {reason}")
        self._failing = True


def encode(jobs: list[Job]) -> bytes:
    """The record's text."""
    return json.dumps({"version": _VERSION, "jobs": [_to_json(job) for job in jobs]}, indent=1).encode()


def decode(data: bytes) -> list[Job]:
    """The jobs of a record. ValueError: it is damaged, or of a version that this engine does not know."""
    try:
        record = json.loads(data)
        if record["version"] != _VERSION:
            raise ValueError(f"version {record['version']} is not known")
        return [_from_json(entry) for entry in record["jobs"]]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a record of jobs: {error!r}") from None


def read(root: Root) -> list[Job]:
    """The jobs as the engine before left them. None are known if there is no record; a damaged one is set aside."""
    try:
        fd = os.open(LEDGER_NAME, os.O_RDONLY | _FLAGS, dir_fd=root.fd)
    except FileNotFoundError:
        return []
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_BYTES)
    try:
        return decode(data)
    except ValueError as error:
        log.error("ledger_damaged", error=str(error), kept_as=LEDGER_NAME + ".damaged")
        os.replace(LEDGER_NAME, LEDGER_NAME + ".damaged", src_dir_fd=root.fd, dst_dir_fd=root.fd)
        return []


def _replace(root: Root, data: bytes) -> None:
    temporary = LEDGER_NAME + ".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600, dir_fd=root.fd)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.replace(temporary, LEDGER_NAME, src_dir_fd=root.fd, dst_dir_fd=root.fd)
    os.fsync(root.fd)


def _to_json(job: Job) -> dict[str, Any]:
    spec = job.spec
    return {
        "job_id": spec.job_id,
        "status": events_pb2.JobStatus.Name(job.status),
        "job_type": events_pb2.JobType.Name(spec.job_type),
        "priority": events_pb2.JobPriority.Name(spec.priority),
        "level": spec.level,
        "input": spec.input,
        "output": spec.output,
        "bytes_total": spec.bytes_total,
        "bytes_read": job.progress.read_bytes,
        "bytes_written": job.progress.written_bytes,
        "elapsed_s": job.elapsed_s,
        "changed_at_s": job.changed_at_s,
        "error": job.error,
    }


def _from_json(entry: dict[str, Any]) -> Job:
    spec = JobSpec(
        job_id=_job_id(entry["job_id"]),
        job_type=events_pb2.JobType.Value(entry["job_type"]),
        priority=events_pb2.JobPriority.Value(entry["priority"]),
        level=int(entry["level"]),
        input=None if entry["input"] is None else _parts(entry["input"]),
        output=_parts(entry["output"]),
        bytes_total=int(entry["bytes_total"]),
    )
    return Job(
        spec=spec,
        status=events_pb2.JobStatus.Value(entry["status"]),
        progress=Progress(read_bytes=int(entry["bytes_read"]), written_bytes=int(entry["bytes_written"])),
        elapsed_s=None if entry["elapsed_s"] is None else float(entry["elapsed_s"]),
        error=str(entry["error"]),
        changed_at_s=float(entry["changed_at_s"]),
    )


def _job_id(text: str) -> str:
    """ValueError: not an id of ours; it becomes a part of the name of a file that is removed."""
    if not re.fullmatch(r"[0-9a-f]{16}", text):
        raise ValueError(f"{text!r} is not a job's id")
    return text


def _parts(names: list[Any]) -> tuple[str, ...]:
    """ValueError: not a path under ROOT; the record is a file that others could have written."""
    if not names or any(not isinstance(name, str) or name in ("", ".", "..") or "/" in name for name in names):
        raise ValueError(f"{names!r} is not a path under the engine's folder")
    return tuple(names)
