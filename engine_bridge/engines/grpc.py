"""Engines that implement engine_rpc.v1.EngineService."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import structlog
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2, engine_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine_bridge.engines.contract import Pushed
from engine_bridge.errors import BadAnswer, EngineError, MethodMissing, TimedOut, Unreachable
from engine_bridge.freshness import CURRENT, QUEUE
from engine_runtime.peer import Peer
from engine_runtime.tls import TlsFiles

__all__ = ["GrpcEngine"]

log = structlog.get_logger()

_ERRORS: dict[grpc.StatusCode, type[EngineError]] = {
    grpc.StatusCode.UNIMPLEMENTED: MethodMissing,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.CANCELLED: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
}
_MAX_MESSAGE_BYTES = 16 << 20
"""A message larger than this is not received. A batch of pushed events may be large: it is taken apart here."""
_MAX_ANSWER_BYTES = 3 << 20
"""An answer larger than this is refused: it becomes one event, and gRPC readers take 4 MiB unless told otherwise."""


class GrpcEngine:
    """One engine, over one channel at a time."""

    topics: Sequence[str] = ("system.status", "storage.update", "agent.status", "compression.update")
    pushes = True

    def __init__(self, target: str, tls: TlsFiles | None = None) -> None:
        """`target`: HOST:PORT or unix:PATH. `tls` None: in the clear. StartupError: the files cannot be used."""
        self._peer = Peer(target, tls, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._connect()
        self._fetchers: dict[str, Callable[[float], Awaitable[list[events_pb2.Event]]]] = {
            "system.status": self._system,
            "storage.update": self._storage,
            "agent.status": self._agents,
            "compression.update": self._jobs,
        }

    async def fetch(self, topic: str, timeout_s: float) -> list[events_pb2.Event]:
        try:
            return await self._fetchers[topic](timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _engine_error(error) from None
        except asyncio.CancelledError:
            # grpc.aio also raises this when the channel was exchanged, and nobody cancelled us
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unreachable("the connection was made anew") from None

    async def watch(self, after: events_pb2.Position | None) -> AsyncIterator[Pushed]:
        call = self._engine.WatchEvents(engine_service_pb2.WatchEventsRequest(after=after))
        try:
            async for response in call:
                if not _is_readable(response):
                    yield Pushed(rejected=1)
                    continue
                position = response.position if response.HasField("position") else None
                yield Pushed(response.events, position, response.lost)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                await self._renew()
            raise _engine_error(error) from None
        finally:
            call.cancel()
        raise Unreachable("the engine ended its event stream")

    async def is_healthy(self, timeout_s: float) -> bool:
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.CANCELLED,
            ):
                return True
            await self._renew()
            return False
        return not _is_readable(answer) or bool(answer.status != health_pb2.HealthCheckResponse.NOT_SERVING)

    async def close(self) -> None:
        await self._channel.close()

    def _connect(self) -> None:
        self._channel = self._peer.connect()
        self._engine = engine_service_pb2_grpc.EngineServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)  # its type stubs leave the methods out

    async def _renew(self) -> None:
        """The connection is gone, or none comes about: the next one has the certificates that there are now."""
        if self._peer.is_renewed:
            log.info("engine_channel_renewed", reason="the certificates have changed")
            before = self._channel
            self._connect()
            await before.close()

    async def _system(self, timeout_s: float) -> list[events_pb2.Event]:
        request = engine_service_pb2.GetSystemStatusRequest()
        answer = await self._engine.GetSystemStatus(request, timeout=timeout_s)
        _require(answer, "status")
        return [events_pb2.Event(type="system.status", key=CURRENT, system_status=answer.status)]

    async def _storage(self, timeout_s: float) -> list[events_pb2.Event]:
        request = engine_service_pb2.GetStorageStatusRequest()
        answer = await self._engine.GetStorageStatus(request, timeout=timeout_s)
        _require(answer, "storage")
        return [events_pb2.Event(type="storage.update", key=CURRENT, storage_update=answer.storage)]

    async def _agents(self, timeout_s: float) -> list[events_pb2.Event]:
        request = engine_service_pb2.ListAgentsRequest()
        answer = await self._engine.ListAgents(request, timeout=timeout_s)
        _require(answer, "agents")
        return [events_pb2.Event(type="agent.status", key=CURRENT, agent_status=answer.agents)]

    async def _jobs(self, timeout_s: float) -> list[events_pb2.Event]:
        request = engine_service_pb2.ListCompressionJobsRequest()
        answer = await self._engine.ListCompressionJobs(request, timeout=timeout_s)
        _require(answer, "queue")
        queue = events_pb2.Event(type="compression.update", key=QUEUE, compression_queue=answer.queue)
        jobs = (job for job in answer.queue.jobs if job.job_id and job.job_id != QUEUE)
        return [
            queue,
            *(events_pb2.Event(type="compression.update", key=job.job_id, compression_job=job) for job in jobs),
        ]


def _is_readable(answer: object) -> bool:
    """grpc.aio gives None, and raises nothing, for bytes that it cannot decode."""
    return answer is not None


def _require(answer: Any, field: str) -> None:
    if not _is_readable(answer):
        raise BadAnswer("the answer cannot be decoded")
    if answer.ByteSize() > _MAX_ANSWER_BYTES:
        raise BadAnswer(f"an answer of more than {_MAX_ANSWER_BYTES} bytes")
    if not answer.HasField(field):
        raise BadAnswer(f"the answer has no {field}")


def _engine_error(error: grpc.aio.AioRpcError) -> EngineError:
    kind = _ERRORS.get(error.code(), BadAnswer)
    return kind(f"{error.code().name}: {error.details() or 'no details'}"[:500])
