"""A compression job: what was asked, where it stands, and how it looks to clients. Pure: time is an argument."""

from dataclasses import dataclass, field

from engine_events.v1 import events_pb2

from host_engine.codec import Progress
from host_engine.rootdir import Parts

__all__ = ["FINAL", "Job", "JobSpec"]

FINAL = frozenset({events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED, events_pb2.JOB_STATUS_CANCELLED})

_NEXT: dict[events_pb2.JobStatus.ValueType, frozenset[events_pb2.JobStatus.ValueType]] = {
    events_pb2.JOB_STATUS_PENDING: frozenset(
        {events_pb2.JOB_STATUS_RUNNING, events_pb2.JOB_STATUS_FAILED, events_pb2.JOB_STATUS_CANCELLED}
    ),
    events_pb2.JOB_STATUS_RUNNING: FINAL,
    events_pb2.JOB_STATUS_COMPLETED: frozenset(),
    events_pb2.JOB_STATUS_FAILED: frozenset(),
    events_pb2.JOB_STATUS_CANCELLED: frozenset(),
}

# before that, an estimate says more about the page cache than about the job
_ESTIMATE_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked, checked and complete."""

    job_id: str
    job_type: events_pb2.JobType.ValueType
    priority: events_pb2.JobPriority.ValueType
    level: int
    input: Parts | None
    """None: a data job."""
    output: Parts
    data: bytes = b""
    bytes_total: int = 0

    @property
    def compresses(self) -> bool:
        return self.job_type in (events_pb2.JOB_TYPE_COMPRESS_FILE, events_pb2.JOB_TYPE_COMPRESS_DATA)


@dataclass(slots=True)
class Job:
    """One job; `move` is the only way to another status."""

    spec: JobSpec
    status: events_pb2.JobStatus.ValueType = events_pb2.JOB_STATUS_PENDING
    progress: Progress = field(default_factory=Progress)
    begun_s: float | None = None
    """When a worker began, on the caller's monotonic clock. None: none has, or it was in an earlier life."""
    elapsed_s: float | None = None
    """How long it took. None: it has not ended, or never begun."""
    error: str = ""
    changed_at_s: float = 0.0
    """When it last changed its status, Unix seconds."""

    def move(self, status: events_pb2.JobStatus.ValueType, *, now_s: float, wall_s: float, error: str = "") -> None:
        """ValueError: a job cannot go from where it is to `status`."""
        if status not in _NEXT[self.status]:
            raise ValueError(f"a job cannot go from {self.status} to {status}")
        self.status = status
        self.error = error
        self.changed_at_s = wall_s
        if status == events_pb2.JOB_STATUS_RUNNING:
            self.begun_s = now_s
        elif self.begun_s is not None:
            self.elapsed_s = now_s - self.begun_s

    def to_proto(self, *, now_s: float, wall_s: float) -> events_pb2.CompressionJob:
        """The job as clients see it now."""
        spec, progress = self.spec, self.progress
        read_bytes, written_bytes = progress.read_bytes, progress.written_bytes
        ended = self.status in FINAL
        message = events_pb2.CompressionJob(
            job_id=spec.job_id,
            status=self.status,
            job_type=spec.job_type,
            priority=spec.priority,
            phase=self._phase(),
            bytes_processed=read_bytes,
            bytes_total=spec.bytes_total,
            progress=self.percent,
            input_path="/".join(spec.input or ()),
            output_path="/".join(spec.output),
            error=self.error,
            timestamp=self.changed_at_s if ended else wall_s,
        )
        if read_bytes and written_bytes:
            original, packed = (read_bytes, written_bytes) if spec.compresses else (written_bytes, read_bytes)
            message.compression_ratio = original / packed
        elapsed_s = self.elapsed_s
        if not ended and self.begun_s is not None:
            elapsed_s = max(0.0, now_s - self.begun_s)
        if elapsed_s is not None:
            message.elapsed_seconds = elapsed_s
        if ended:
            message.eta_seconds = 0.0
        elif elapsed_s is not None and elapsed_s > _ESTIMATE_AFTER_S and read_bytes:
            message.eta_seconds = elapsed_s * max(0, spec.bytes_total - read_bytes) / read_bytes
        return message

    @property
    def percent(self) -> float:
        """Input worked through, 0 to 100; 100 only once the output is in place."""
        if self.status == events_pb2.JOB_STATUS_COMPLETED:
            return 100.0
        if not self.spec.bytes_total:
            return 0.0
        return min(99.9, 100.0 * self.progress.read_bytes / self.spec.bytes_total)

    def _phase(self) -> str:
        if self.status == events_pb2.JOB_STATUS_PENDING:
            return "waiting"
        if self.status != events_pb2.JOB_STATUS_RUNNING:
            return ""
        return "stopping" if self.progress.stop.is_set() else self.progress.phase or "starting"
