"""engine_rpc.v1.EngineService: requests to calls of the parts, their answers and errors to gRPC. Decides nothing."""

import asyncio
import dataclasses
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc
from engine_rpc.v1 import engine_service_pb2_grpc as rpc_grpc

from eventlog import Position
from host_engine import errors
from host_engine.feed import Feed
from host_engine.job import Job, JobSpec
from host_engine.jobs import Jobs
from host_engine.ledger import Ledger
from host_engine.requests import job_spec
from host_engine.rootdir import Root
from host_engine.roster import Roster
from host_engine.sampler import Sampler
from host_engine.system import SystemReader
from host_engine.threads import Threads

__all__ = ["EngineService"]

log = structlog.get_logger()

# only what every method's context can do is used
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_STATUS: dict[type[errors.HostEngineError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NoSuchInput: grpc.StatusCode.NOT_FOUND,
    errors.OutsideRoot: grpc.StatusCode.PERMISSION_DENIED,
    errors.OutputExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.TooManyJobs: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyWatchers: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooBusy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NoSuchJob: grpc.StatusCode.NOT_FOUND,
    errors.JobEnded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotCollected: grpc.StatusCode.INTERNAL,
    errors.Stopping: grpc.StatusCode.UNAVAILABLE,
}


class EngineService(rpc_grpc.EngineServiceServicer):
    """The engine as clients see it."""

    def __init__(
        self,
        *,
        system: Sampler[events_pb2.SystemStatus],
        storage: Sampler[events_pb2.StorageUpdate],
        reader: SystemReader,
        roster: Roster,
        jobs: Jobs,
        ledger: Ledger,
        feed: Feed,
        root: Root,
        threads: Threads,
    ) -> None:
        self._system = system
        self._storage = storage
        self._reader = reader
        self._roster = roster
        self._jobs = jobs
        self._ledger = ledger
        self._feed = feed
        self._root = root
        self._threads = threads

    async def GetSystemStatus(
        self, request: rpc.GetSystemStatusRequest, context: Context
    ) -> rpc.GetSystemStatusResponse:
        async with _errors_mapped("GetSystemStatus", context):
            return rpc.GetSystemStatusResponse(status=self._system.latest())

    async def GetStorageStatus(
        self, request: rpc.GetStorageStatusRequest, context: Context
    ) -> rpc.GetStorageStatusResponse:
        async with _errors_mapped("GetStorageStatus", context):
            return rpc.GetStorageStatusResponse(storage=self._storage.latest())

    async def ListAgents(self, request: rpc.ListAgentsRequest, context: Context) -> rpc.ListAgentsResponse:
        async with _errors_mapped("ListAgents", context):
            agents = self._roster.to_proto(resident_bytes=self._reader.resident_bytes(), wall_s=time.time())
            return rpc.ListAgentsResponse(agents=agents)

    async def ListCompressionJobs(
        self, request: rpc.ListCompressionJobsRequest, context: Context
    ) -> rpc.ListCompressionJobsResponse:
        async with _errors_mapped("ListCompressionJobs", context):
            return rpc.ListCompressionJobsResponse(queue=self._jobs.to_proto())

    # A coroutine that writes, not a generator: a generator whose client went away is closed by the garbage collector.
    async def WatchEvents(  # type: ignore[override]  # grpc.aio takes both forms, its stubs know one
        self, request: rpc.WatchEventsRequest, context: Context
    ) -> None:
        after = Position(request.after.epoch, request.after.seq) if request.HasField("after") else None
        async with (
            _errors_mapped("WatchEvents", context),
            aclosing(self._feed.watch(after, self._is_present)) as batches,
        ):
            async for batch in batches:
                position = events_pb2.Position(epoch=batch.position.epoch, seq=batch.position.seq)
                await context.write(rpc.WatchEventsResponse(position=position, events=batch.events, lost=batch.lost))

    async def SubmitCompressionJob(
        self, request: rpc.SubmitCompressionJobRequest, context: Context
    ) -> rpc.SubmitCompressionJobResponse:
        async with _errors_mapped("SubmitCompressionJob", context):
            self._jobs.require_room()
            spec = job_spec(request, self._root, secrets.token_hex(8))
            spec = await self._threads.run(f"check {spec.job_id}", lambda: _looked_at(self._root, spec))
            job = self._jobs.accept(spec)
            accepted = _to_proto(job)
            # answered only when a restart would remember the job
            await self._ledger.settled()
            return rpc.SubmitCompressionJobResponse(job=accepted)

    async def CancelCompressionJob(
        self, request: rpc.CancelCompressionJobRequest, context: Context
    ) -> rpc.CancelCompressionJobResponse:
        async with _errors_mapped("CancelCompressionJob", context):
            return rpc.CancelCompressionJobResponse(job=_to_proto(self._jobs.cancel(request.job_id)))

    def _is_present(self, event: events_pb2.Event) -> bool:
        """The journal remembers more jobs than the engine lists."""
        return not event.HasField("compression_job") or self._jobs.lists(event.key)


def _looked_at(root: Root, spec: JobSpec) -> JobSpec:
    """The job with its input's size, once input and output have been found to be as they must. Blocks."""
    if spec.input is not None:
        fd = root.open_input(spec.input)
        try:
            spec = dataclasses.replace(spec, bytes_total=os.fstat(fd).st_size)
        finally:
            os.close(fd)
    root.check_output(spec.output)
    return spec


def _to_proto(job: Job) -> events_pb2.CompressionJob:
    return job.to_proto(now_s=time.monotonic(), wall_s=time.time())


@asynccontextmanager
async def _errors_mapped(method: str, context: Context) -> AsyncIterator[None]:
    """Without this, the text of any exception would reach the client."""
    try:
        yield
    except errors.HostEngineError as error:
        await context.abort(_STATUS.get(type(error), grpc.StatusCode.INTERNAL), str(error))
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("call_failed", method=method)
        await context.abort(grpc.StatusCode.INTERNAL, "internal error of the engine; its log says more")
