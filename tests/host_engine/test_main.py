"""`python -m host_engine` as a user runs it."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc
from engine_rpc.v1 import engine_service_pb2_grpc as rpc_grpc

from tests.host_engine.listing import names_in
from tests.kit.programs import Program
from tests.kit.waiting import until


@pytest.fixture
def program(folder: Path) -> Program:
    folder.mkdir()
    return Program(
        "engine",
        "host_engine",
        listen="HOST_ENGINE_LISTEN",
        directory=folder.parent,
        settings={"HOST_ENGINE_ROOT": str(folder)},
    )


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "host_engine", "--root", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


async def submit_slow(stub: "rpc_grpc.EngineServiceAsyncStub", folder: Path) -> str:
    """The id of a job that has begun and takes many seconds."""
    (folder / "slow").write_bytes(b" ".join(b"%x" % (number * 2654435761 % 2**24) for number in range(4_000_000)))
    stream = stub.WatchEvents(rpc.WatchEventsRequest())
    responses = aiter(stream)
    await anext(responses)
    request = rpc.SubmitCompressionJobRequest(
        job_type=events_pb2.JOB_TYPE_COMPRESS_FILE, input_path="slow", output_path="slow.zst", level=22
    )
    job = (await stub.SubmitCompressionJob(request)).job
    async with asyncio.timeout(20):
        async for response in responses:
            if any(event.key == job.job_id and event.compression_job.bytes_processed for event in response.events):
                break
    stream.cancel()
    return job.job_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_program_signalled_ends_cleanly_within_5_seconds(
    program: Program, folder: Path, number: signal.Signals
) -> None:
    """With a job at work and a watcher connected."""
    async with program, grpc.aio.insecure_channel(program.address) as channel:
        stub = rpc_grpc.EngineServiceStub(channel)
        await submit_slow(stub, folder)
        stream = stub.WatchEvents(rpc.WatchEventsRequest())
        responses = aiter(stream)
        await anext(responses)
        program.send_signal(number)
        assert await program.wait_ended(within_s=5) == 0
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async for _ in responses:
                pass
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert names_in(folder) == [".jobs.json", "slow"]
    assert program.complaints() == []


async def test_program_killed_in_a_job_starts_again_without_leftovers(program: Program, folder: Path) -> None:
    async with program:
        async with grpc.aio.insecure_channel(program.address) as channel:
            job_id = await submit_slow(rpc_grpc.EngineServiceStub(channel), folder)
        assert f".slow.zst.{job_id}.partial" in names_in(folder)
        await program.restart()
        # it listens already while it writes down what became of the job
        await until(lambda: names_in(folder) == [".jobs.json", "slow"], within_s=5, what="no leftovers")
        async with grpc.aio.insecure_channel(program.address) as channel:
            stub = rpc_grpc.EngineServiceStub(channel)
            (job,) = (await stub.ListCompressionJobs(rpc.ListCompressionJobsRequest())).queue.jobs
    assert job.job_id == job_id
    assert (job.status, job.error) == (
        events_pb2.JOB_STATUS_FAILED,
        "the engine stopped while this job was running",
    )


def test_program_with_its_port_in_use_says_so_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("--listen", f"127.0.0.1:{taken.getsockname()[1]}", folder=folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith("host_engine: cannot listen on 127.0.0.1:")
    assert ended.stderr.count("\n") == 1


def test_program_with_a_bad_setting_says_so_in_one_line(folder: Path) -> None:
    ended = run("--workers", "none", folder=folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "HOST_ENGINE_WORKERS" in ended.stderr


def test_program_with_a_folder_it_cannot_use_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run(folder=tmp_path / "file")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


def test_help_lists_the_settings_with_their_variables(folder: Path) -> None:
    ended = run("--help", folder=folder)
    assert ended.returncode == 0
    assert "HOST_ENGINE_LISTEN" in ended.stdout
    assert not folder.exists()
