"""A compression job as a person would run it: submitted by grpcurl, watched in a browser, checked with zstd."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.end_to_end.conftest import Connect
from tests.end_to_end.grpcurl import grpcurl
from tests.kit.client import Recorder
from tests.kit.programs import Stack

SUBMIT = "engine_rpc.v1.EngineService/SubmitCompressionJob"
CANCEL = "engine_rpc.v1.EngineService/CancelCompressionJob"
MIB = 1 << 20


@pytest.fixture
def root(stack: Stack) -> Path:
    """The one folder in which jobs may read and write."""
    return stack.directory / "engine-files"


def write_file(path: Path, mib: int) -> str:
    """A file of half noise, half repetition, so that compressing takes a while; its SHA-256."""
    digest = hashlib.sha256()
    noise = random.Random(1)
    with path.open("wb") as file:
        for _ in range(mib):
            piece = noise.randbytes(MIB // 2) + bytes(MIB // 2)
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def digest_of_decompressed(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        while piece := reader.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


async def submit(stack: Stack, **request: Any) -> Any:
    answer = await grpcurl(stack.engine.address, SUBMIT, request)
    return json.loads(answer)["job"]


def of_job(client: Recorder, job_id: str) -> list[dict[str, Any]]:
    updates = client.record.of_type("compression.update")
    return [message["data"] for message in updates if message["data"].get("job_id") == job_id]


async def test_job_on_a_large_file_shows_progress_and_gives_the_same_bytes_back(
    stack: Stack, connect: Connect, root: Path
) -> None:
    """200 MB: progress, ratio and ETA in a WebSocket client, then completed, and the output is whole."""
    client = await connect(stack.ws_url(), types=["compression.update"])
    digest = write_file(root / "large.bin", 200)
    job = await submit(
        stack, job_type="JOB_TYPE_COMPRESS_FILE", input_path="large.bin", priority="JOB_PRIORITY_HIGH", level=15
    )
    done = await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["status"] == "completed",
        within_s=60,
    )
    data = done.message["data"]
    assert data["progress"] == 100
    assert data["job_type"] == "compress_file"
    assert data["priority"] == "high"
    assert data["bytes_processed"] == data["bytes_total"] == 200 * MIB
    assert 1.8 < data["compression_ratio"] < 2.2
    assert (data["error"], data["eta_seconds"]) == ("", 0)
    progress = [update["progress"] for update in of_job(client, job["job_id"]) if update["status"] == "running"]
    assert progress == sorted(progress)
    assert len([value for value in progress if 0 < value < 100]) >= 2
    assert digest_of_decompressed(root / "large.bin.zst") == digest
    assert sorted(path.name for path in root.iterdir() if not path.name.startswith(".jobs")) == [
        "large.bin",
        "large.bin.zst",
    ]


async def test_cancelled_job_leaves_nothing_behind(stack: Stack, connect: Connect, root: Path) -> None:
    client = await connect(stack.ws_url(), types=["compression.update"])
    write_file(root / "large.bin", 200)
    job = await submit(stack, job_type="JOB_TYPE_COMPRESS_FILE", input_path="large.bin", level=19)
    await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["status"] == "running"
    )
    await grpcurl(stack.engine.address, CANCEL, {"job_id": job["job_id"]})
    await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["status"] == "cancelled",
        within_s=10,
    )
    assert [path.name for path in root.iterdir() if not path.name.startswith(".jobs")] == ["large.bin"]


async def test_job_that_was_running_when_the_engine_was_killed_is_told_as_failed(
    stack: Stack, connect: Connect, root: Path
) -> None:
    """Stale while the engine is away, failed when it is back and knows that the job was cut; nothing left behind."""
    client = await connect(stack.ws_url(), types=["compression.update"])
    write_file(root / "large.bin", 200)
    job = await submit(stack, job_type="JOB_TYPE_COMPRESS_FILE", input_path="large.bin", level=19)
    await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["status"] == "running"
    )
    await stack.engine.kill()
    mark = client.mark()
    await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["stale"], since=mark
    )
    await stack.engine.start()
    failed = await client.wait_for(
        lambda message: message["data"].get("job_id") == job["job_id"] and message["data"]["status"] == "failed",
        since=mark,
    )
    assert failed.message["data"]["stale"] is False
    assert failed.message["data"]["error"]
    assert [path.name for path in root.iterdir() if not path.name.startswith(".jobs")] == ["large.bin"]


async def test_path_outside_the_root_is_refused(stack: Stack, root: Path) -> None:
    (root / "out").symlink_to("/etc")
    for path in ("../../../etc/passwd", "/etc/passwd", "out/passwd"):
        answer = await grpcurl(
            stack.engine.address, SUBMIT, {"job_type": "JOB_TYPE_COMPRESS_FILE", "input_path": path}, fails=True
        )
        assert "PermissionDenied" in answer or "NotFound" in answer, (path, answer)
        assert not list(root.glob("*.zst"))
