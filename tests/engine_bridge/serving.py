"""The bridge's service behind a real gRPC server on a free port, and readers of its stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2
from grpc_health.v1 import health_pb2_grpc

from engine_bridge.feed import Feed
from engine_bridge.health import Health
from engine_bridge.service import EventService
from engine_bridge.source import Source
from engine_runtime.grpc_defaults import SERVER_OPTIONS, bind

__all__ = ["Reader", "Served", "served"]


@dataclass
class Reader:
    """One stream, and all that came of it. Nothing is read but on demand."""

    call: Any
    subscribed: pb.Subscribed = field(default_factory=pb.Subscribed)
    snapshot: list[events_pb2.Event] = field(default_factory=list)
    events: list[events_pb2.Event] = field(default_factory=list)
    gaps: list[pb.Gap] = field(default_factory=list)
    progress: list[events_pb2.Position] = field(default_factory=list)
    superseded: int = 0
    bytes_read: int = 0
    seq: int = 0
    """Everything up to here has come."""

    @property
    def lost(self) -> int:
        return sum(gap.lost for gap in self.gaps)

    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]

    def messages(self) -> list[str]:
        return [event.notification.message for event in self.events if event.type == "notification"]

    async def read(self, within_s: float = 5.0) -> pb.SubscribeResponse:
        """The next response. The call's error, or AssertionError at its end; TimeoutError: nothing came."""
        async with asyncio.timeout(within_s):
            response = await self.call.read()
        assert isinstance(response, pb.SubscribeResponse), "the stream ended"
        self.bytes_read += response.ByteSize()
        if response.HasField("subscribed"):
            self.subscribed = response.subscribed
        elif response.HasField("batch") and response.batch.snapshot:
            self.snapshot += response.batch.events
        elif response.HasField("batch"):
            self.events += response.batch.events
            self.superseded += response.batch.superseded
            self.seq = response.batch.events[-1].seq
        elif response.HasField("progress"):
            self.progress.append(response.progress.position)
            self.seq = response.progress.position.seq
        else:
            self.gaps.append(response.gap)
        return response

    async def read_through(self, seq: int) -> None:
        """Reads until everything up to a number has come; a progress mark says so too."""
        while self.seq < seq:
            await self.read()

    async def status(self) -> grpc.StatusCode:
        """Reads to the end; gives the status."""
        try:
            while True:
                await self.read()
        except (grpc.aio.AioRpcError, AssertionError):
            return await self.call.code()  # type: ignore[no-any-return]


class Served:
    """The service, its address, and stubs of it."""

    def __init__(self, service: EventService, health: Health, feed: Feed, channel: grpc.aio.Channel) -> None:
        self.service = service
        self.health = health
        self.feed = feed
        self.events: Any = event_service_pb2_grpc.EventServiceStub(channel)
        self.health_stub: Any = health_pb2_grpc.HealthStub(channel)

    def open(self, *types: str, after: tuple[str, int] | None = None, snapshot: bool = False) -> Reader:
        """Subscribes; nothing is read yet."""
        position = None if after is None else events_pb2.Position(epoch=after[0], seq=after[1])
        return Reader(self.events.Subscribe(pb.SubscribeRequest(types=types, after=position, snapshot=snapshot)))

    async def subscribe(self, *types: str, after: tuple[str, int] | None = None, snapshot: bool = False) -> Reader:
        """Subscribes, and reads the first response."""
        reader = self.open(*types, after=after, snapshot=snapshot)
        response = await reader.read()
        assert response.HasField("subscribed"), "the first response is another"
        return reader

    async def status(self) -> pb.GetBridgeStatusResponse:
        answer = await self.events.GetBridgeStatus(pb.GetBridgeStatusRequest(), timeout=5)
        assert isinstance(answer, pb.GetBridgeStatusResponse)
        return answer


@asynccontextmanager
async def served(
    feed: Feed,
    *sources: Source,
    heartbeat_s: float = 0.2,
    max_subscribers: int = 50,
    is_engine_healthy: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Served]:
    """Serves a feed, with the server's real options, to clients with gRPC's defaults."""
    service = EventService(
        feed,
        sources,
        engine_url="grpc://engine:1",
        is_engine_healthy=is_engine_healthy,
        heartbeat_s=heartbeat_s,
        max_subscribers=max_subscribers,
    )
    health = Health()
    server = grpc.aio.server(options=SERVER_OPTIONS)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = bind(server, "127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(service, health, feed, channel)
    finally:
        service.stop()
        await server.stop(0.2)
