"""An engine that only pushes: `python -m bench.engine HOST:PORT`. Its events are made to order, see publisher.py.

Each watcher gets what is new in one message, as many events as there are.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as pb
from engine_rpc.v1 import engine_service_pb2_grpc

from bench.events import padded
from bench.publisher import Numbered, Order, serve

_AROUND = 152
"""Bytes of a notification's message beside its text, as the gateway sends it; a few more or less by its numbers."""
_AROUND_OTHER = 94
"""The same for an event of a type of the engine's own."""
_MOST_EVENTS = 512
_QUIET_S = 5.0


class _Engine(engine_service_pb2_grpc.EngineServiceServicer):
    def __init__(self) -> None:
        self._watchers: list[tuple[deque[events_pb2.Event], asyncio.Event]] = []

    def push(self, events: Sequence[events_pb2.Event]) -> None:
        for waiting, changed in self._watchers:
            waiting.extend(events)
            changed.set()

    async def GetSystemStatus(self, request: pb.GetSystemStatusRequest, context: Any) -> pb.GetSystemStatusResponse:
        return pb.GetSystemStatusResponse(status=events_pb2.SystemStatus(hostname="bench", platform="bench"))

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Any) -> AsyncIterator[pb.WatchEventsResponse]:
        waiting: deque[events_pb2.Event] = deque()
        changed = asyncio.Event()
        watcher = (waiting, changed)
        self._watchers.append(watcher)
        try:
            yield pb.WatchEventsResponse()
            while True:
                try:
                    async with asyncio.timeout(_QUIET_S):
                        await changed.wait()
                except TimeoutError:
                    yield pb.WatchEventsResponse()
                    continue
                changed.clear()
                while waiting:
                    count = min(len(waiting), _MOST_EVENTS)
                    yield pb.WatchEventsResponse(events=[waiting.popleft() for _ in range(count)])
        finally:
            self._watchers.remove(watcher)


def _event(number: int, stamp_ns: int, order: Order) -> events_pb2.Event:
    if order.topics:
        event = events_pb2.Event(type=f"bench.t{number % order.topics}")
        event.other["text"] = padded(number, stamp_ns, order.size_bytes - _AROUND_OTHER)
        return event
    notification = events_pb2.Notification(
        message=padded(number, stamp_ns, order.size_bytes - _AROUND),
        level=events_pb2.NOTIFICATION_LEVEL_INFO,
        source="bench",
        timestamp=stamp_ns // 1000 / 1e6,
    )
    return events_pb2.Event(type="notification", notification=notification)


async def _main(address: str) -> None:
    engine = _Engine()  # type: ignore[abstract]  # what an engine leaves out is UNIMPLEMENTED
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    engine_service_pb2_grpc.add_EngineServiceServicer_to_server(engine, server)
    server.add_insecure_port(address)
    await server.start()

    def send(events: Sequence[Numbered], order: Order) -> None:
        engine.push([_event(number, stamp_ns, order) for number, stamp_ns in events])

    await serve(send)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
