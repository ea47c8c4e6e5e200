"""A job's states and figures."""

import pytest
from engine_events.v1 import events_pb2

from host_engine.job import FINAL, Job, JobSpec

PENDING, RUNNING = events_pb2.JOB_STATUS_PENDING, events_pb2.JOB_STATUS_RUNNING
COMPLETED, FAILED = events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED
ALLOWED = (
    {(PENDING, status) for status in FINAL - {COMPLETED}}
    | {(PENDING, RUNNING)}
    | {(RUNNING, status) for status in FINAL}
)


def job(status: events_pb2.JobStatus.ValueType = PENDING, job_type: str = "COMPRESS_FILE") -> Job:
    spec = JobSpec(
        job_id="0123456789abcdef",
        job_type=events_pb2.JobType.Value(f"JOB_TYPE_{job_type}"),
        priority=events_pb2.JOB_PRIORITY_HIGH,
        level=3,
        input=("a", "b"),
        output=("a", "b.zst"),
        bytes_total=1000,
    )
    return Job(spec, status=status)


@pytest.mark.parametrize("before", [PENDING, RUNNING, *sorted(FINAL)])
@pytest.mark.parametrize("after", [PENDING, RUNNING, *sorted(FINAL)])
def test_job_moves_only_forward(before: events_pb2.JobStatus.ValueType, after: events_pb2.JobStatus.ValueType) -> None:
    """And a refused move changes nothing."""
    moved = job(before)
    if (before, after) in ALLOWED:
        moved.move(after, now_s=1, wall_s=2)
        assert moved.status == after
    else:
        with pytest.raises(ValueError, match="cannot go"):
            moved.move(after, now_s=1, wall_s=2, error="no")
        assert moved == job(before)


def test_job_waiting_has_no_times() -> None:
    shown = job().to_proto(now_s=10, wall_s=100)
    assert (shown.phase, shown.progress, shown.bytes_total) == ("waiting", 0, 1000)
    assert not shown.HasField("elapsed_seconds")
    assert not shown.HasField("eta_seconds")
    assert not shown.HasField("compression_ratio")
    assert (shown.input_path, shown.output_path) == ("a/b", "a/b.zst")


def test_job_running_has_an_estimate() -> None:
    running = job()
    running.move(RUNNING, now_s=10, wall_s=100)
    running.progress.read_bytes, running.progress.written_bytes = 250, 125
    shown = running.to_proto(now_s=12, wall_s=102)
    assert (shown.progress, shown.elapsed_seconds, shown.eta_seconds) == (25, 2, 6)
    assert shown.compression_ratio == 2
    assert shown.timestamp == 102


def test_job_just_begun_has_no_estimate() -> None:
    running = job()
    running.move(RUNNING, now_s=10, wall_s=100)
    running.progress.read_bytes = 500
    assert not running.to_proto(now_s=10.1, wall_s=100.1).HasField("eta_seconds")


def test_job_running_shows_100_only_when_its_output_is_in_place() -> None:
    running = job()
    running.move(RUNNING, now_s=10, wall_s=100)
    running.progress.read_bytes = 1000
    assert running.to_proto(now_s=12, wall_s=102).progress < 100
    running.move(COMPLETED, now_s=12, wall_s=102)
    shown = running.to_proto(now_s=50, wall_s=150)
    assert (shown.progress, shown.eta_seconds, shown.elapsed_seconds, shown.timestamp) == (100, 0, 2, 102)


def test_ratio_is_original_by_compressed_in_both_directions() -> None:
    unpacking = job(RUNNING, "DECOMPRESS_FILE")
    unpacking.progress.read_bytes, unpacking.progress.written_bytes = 100, 400
    assert unpacking.to_proto(now_s=1, wall_s=1).compression_ratio == 4


def test_job_told_to_stop_says_so() -> None:
    running = job(RUNNING)
    running.progress.stop.set()
    assert running.to_proto(now_s=1, wall_s=1).phase == "stopping"
