"""The engine in this process, on a port of its own, with a client; and the few things that tests ask of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc
from engine_rpc.v1 import engine_service_pb2_grpc as rpc_grpc

from host_engine.app import serve
from host_engine.config import Settings
from tests.host_engine.listing import names_in

__all__ = ["RunningEngine", "refused", "running_engine"]

_FINAL = (events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED, events_pb2.JOB_STATUS_CANCELLED)


@dataclass
class RunningEngine:
    """An engine that serves, and how to talk to it."""

    folder: Path
    address: str
    channel: grpc.aio.Channel
    stub: "rpc_grpc.EngineServiceAsyncStub"  # a name that only its type stub has
    stop: asyncio.Event

    async def submit(
        self,
        job_type: events_pb2.JobType.ValueType,
        input_path: str = "",
        output_path: str = "",
        *,
        data: bytes = b"",
        level: int = 0,
        priority: events_pb2.JobPriority.ValueType = events_pb2.JOB_PRIORITY_UNSPECIFIED,
    ) -> events_pb2.CompressionJob:
        request = rpc.SubmitCompressionJobRequest(
            job_type=job_type, input_path=input_path, output_path=output_path, data=data, level=level, priority=priority
        )
        return (await self.stub.SubmitCompressionJob(request)).job

    async def jobs(self) -> events_pb2.CompressionQueue:
        return (await self.stub.ListCompressionJobs(rpc.ListCompressionJobsRequest())).queue

    async def until(
        self, job_id: str, *statuses: events_pb2.JobStatus.ValueType, within_s: float = 20.0
    ) -> events_pb2.CompressionJob:
        """The job, as soon as an event shows it in one of `statuses` (none given: any final one)."""
        async with asyncio.timeout(within_s):
            async for response in self.stub.WatchEvents(rpc.WatchEventsRequest()):
                for event in response.events:
                    if event.key == job_id and event.compression_job.status in (statuses or _FINAL):
                        return event.compression_job
        raise AssertionError("the stream ended")

    def files(self) -> set[str]:
        """What lies in ROOT, but the record, which may be in the middle of being replaced."""
        return set(names_in(self.folder)) - {".jobs.json", ".jobs.json.new"}


@asynccontextmanager
async def running_engine(folder: Path, **settings: object) -> AsyncIterator[RunningEngine]:
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    values = Settings.model_validate({"listen": "127.0.0.1:0", "root": folder, **settings})
    server = asyncio.create_task(serve(values, stop, port.set_result), name="engine under test")
    try:
        either: list[asyncio.Future[Any]] = [server, port]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if server.done():
            await server
        address = f"127.0.0.1:{port.result()}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield RunningEngine(folder, address, channel, rpc_grpc.EngineServiceStub(channel), stop)
    finally:
        stop.set()
        await asyncio.wait_for(server, 6)


@asynccontextmanager
async def refused(code: grpc.StatusCode) -> AsyncIterator[None]:
    """The call within is refused with this status, and its text tells nothing of the inside."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield
    assert raised.value.code() is code, raised.value.details()
    details = raised.value.details() or ""
    assert details
    assert "Traceback" not in details
    assert "Errno" not in details
