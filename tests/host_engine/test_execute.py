"""A job's work, on real files, when things go wrong."""

from pathlib import Path

import pytest
import zstandard
from engine_events.v1 import events_pb2

from host_engine.codec import Progress
from host_engine.errors import JobCancelled, JobFailed
from host_engine.execute import OutputLimits, execute
from host_engine.job import JobSpec
from host_engine.rootdir import Root
from tests.host_engine.listing import names_in

LIMITS = OutputLimits(max_bytes=1 << 30, min_free_bytes=0)


def spec(job_type: str, source: str | None, output: str, data: bytes = b"") -> JobSpec:
    return JobSpec(
        job_id="0123456789abcdef",
        job_type=events_pb2.JobType.Value(f"JOB_TYPE_{job_type}"),
        priority=events_pb2.JOB_PRIORITY_NORMAL,
        level=3,
        input=None if source is None else (source,),
        output=(output,),
        data=data,
    )


def test_file_there_and_back_is_the_same(root: Root, folder: Path) -> None:
    (folder / "a").write_bytes(b"content" * 1000)
    (folder / "a").chmod(0o640)
    execute(root, spec("COMPRESS_FILE", "a", "a.zst"), Progress(), LIMITS)
    execute(root, spec("DECOMPRESS_FILE", "a.zst", "b"), Progress(), LIMITS)
    assert (folder / "b").read_bytes() == b"content" * 1000
    assert (folder / "b").stat().st_mode & 0o777 == 0o640


def test_file_empty_is_compressed(root: Root, folder: Path) -> None:
    (folder / "a").touch()
    execute(root, spec("COMPRESS_FILE", "a", "a.zst"), Progress(), LIMITS)
    assert zstandard.decompress((folder / "a.zst").read_bytes()) == b""


@pytest.mark.parametrize("content", [b"", b"not zstd", zstandard.compress(b"x" * 1000)[:-1]])
def test_file_that_cannot_be_decompressed_leaves_nothing(root: Root, folder: Path, content: bytes) -> None:
    (folder / "a.zst").write_bytes(content)
    with pytest.raises(JobFailed):
        execute(root, spec("DECOMPRESS_FILE", "a.zst", "a"), Progress(), LIMITS)
    assert names_in(folder) == ["a.zst"]


def test_bomb_is_stopped_at_the_limit(root: Root, folder: Path) -> None:
    bomb = zstandard.compress(bytes(64 << 20))
    with pytest.raises(JobFailed, match="larger than"):
        execute(root, spec("DECOMPRESS_DATA", None, "a", bomb), Progress(), OutputLimits(8 << 20, 0))
    assert names_in(folder) == []


def test_job_told_to_stop_leaves_nothing(root: Root, folder: Path) -> None:
    progress = Progress()
    progress.stop.set()
    with pytest.raises(JobCancelled):
        execute(root, spec("COMPRESS_DATA", None, "a", b"content"), progress, LIMITS)
    assert names_in(folder) == []


def test_input_gone_since_it_was_submitted_is_told(root: Root) -> None:
    with pytest.raises(JobFailed, match="no such file"):
        execute(root, spec("COMPRESS_FILE", "a", "a.zst"), Progress(), LIMITS)


def test_input_turned_into_a_link_is_refused(root: Root, folder: Path) -> None:
    (folder / "a").symlink_to("/etc/passwd")
    with pytest.raises(JobFailed, match="symbolic link"):
        execute(root, spec("COMPRESS_FILE", "a", "a.zst"), Progress(), LIMITS)
    assert names_in(folder) == ["a"]


def test_error_of_the_disk_names_no_path(root: Root, folder: Path) -> None:
    """Reading what is listed as a file but cannot be read gives the system's words alone."""
    (folder / "a").write_text("x")
    (folder / ".b.0123456789abcdef.partial").touch()
    with pytest.raises(JobFailed) as raised:
        execute(root, spec("COMPRESS_FILE", "a", "b"), Progress(), LIMITS)
    assert str(folder) not in str(raised.value)
