"""grpc.health.v1 for the bridge itself ("" and its service) and for the engine ("engine").

Not the stock asynchronous servicer: that one holds a lock while it writes to a watcher, so a watcher that stops reading
blocks every later change for everybody. Here a change only wakes the watchers.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["Health"]

_Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]


class Health(health_pb2_grpc.HealthServicer):
    """Statuses by service name."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._stopping = False
        self._changed = asyncio.Event()

    def set(self, service: str, serving: bool) -> None:
        """Synchronous: never waits for a watcher."""
        response = health_pb2.HealthCheckResponse
        self._statuses[service] = response.SERVING if serving else response.NOT_SERVING
        self._wake()

    def stop(self) -> None:
        """From now on nothing is serving; watchers are told so, and their streams end."""
        for service in self._statuses:
            self._statuses[service] = health_pb2.HealthCheckResponse.NOT_SERVING
        self._stopping = True
        self._wake()

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: _Context,
    ) -> health_pb2.HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: _Context,
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told: int | None = None
        while True:
            changed, stopping = self._changed, self._stopping  # as of this status: both may change while it is sent
            status = self._statuses.get(request.service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            if stopping:
                return
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
