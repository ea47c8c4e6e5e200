"""What these tests are made of: time that passes at once, transports that remember, a bridge in one line.

The hub and the mirror are the real ones. Only what lies outside them is played: the loop's clock, the kernel's buffer
behind a transport, and the bridge.
"""

import asyncio
import functools
import selectors
import socket
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, Self

import grpc
import grpc.aio
from aiohttp import web
from aiohttp.typedefs import Handler
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from engine_runtime.grpc_defaults import bind
from engine_runtime.tls import TlsFiles
from eventlog import Position, Topics
from tests.kit.messages import free_data
from tests.kit.rawclient import Opcode, take_frame
from tests.kit.record import Message, parse
from tests.kit.waiting import until
from ws_gateway.http import Pages
from ws_gateway.hub import Hub
from ws_gateway.limits import Admission, ClientLimits
from ws_gateway.mirror import Mirror, Reason
from ws_gateway.protocol import DEFAULT_TYPES
from ws_gateway.session import Sessions, topics_of
from ws_gateway.sse import EventStreams
from ws_gateway.subscriber import Subscriber
from ws_gateway.upstream import Upstream
from ws_gateway.wire import WEBSOCKET, Wire

__all__ = [
    "EPOCH_S",
    "FakeClient",
    "Gateway",
    "RecordingTransport",
    "ScriptedBridge",
    "Served",
    "VirtualTimeLoop",
    "batch",
    "in_virtual_time",
    "log",
    "pass_time",
    "progress",
    "running",
    "seconds",
    "state",
    "subscribed",
]

P = ParamSpec("P")

LIMITS = ClientLimits()

EPOCH_S = 1_700_000_000.0
"""Unix seconds when the loop's clock is at zero."""


# --- time


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """When everything waits, the clock jumps to the next timer: thirty seconds take none."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, by_s: float) -> None:
        """Time passes while nothing else runs, as when the processor is busy."""
        self._now_s += by_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never comes"
            self._loop.jump(timeout)
        return ready


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test on a loop in which waiting takes no time. For tests without sockets."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def seconds() -> float:
    """The loop's clock."""
    return asyncio.get_running_loop().time()


async def pass_time(by_s: float) -> None:
    """Lets everything happen that happens within this time, in virtual time."""
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    await asyncio.sleep(by_s)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that run for as long as the block; an error in one of them is raised at its end."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end


# --- events


def state(seq: int, type: str = "system.status", key: str = "current", *, stale: bool = False, **data: Any) -> Any:
    """One event of a state."""
    data.setdefault("n", seq)
    freshness = events_pb2.Freshness()
    if stale:
        last = Timestamp(seconds=int(EPOCH_S) - 60)
        freshness = events_pb2.Freshness(stale=True, error_code="RPC_DISCONNECT", last_update=last)
    return events_pb2.Event(
        seq=seq, type=type, key=key, published_at=_time(seq), freshness=freshness, other=free_data(data)
    )


def log(seq: int, type: str = "notification", **data: Any) -> Any:
    """One log event; its message tells its number."""
    data.setdefault("message", f"n={seq}")
    return events_pb2.Event(seq=seq, type=type, published_at=_time(seq), other=free_data(data))


def _time(seq: int) -> Timestamp:
    return Timestamp(seconds=int(EPOCH_S) + seq)


# --- clients


class RecordingTransport(asyncio.Transport):
    """Remembers each write and when it came. While it does not read, what is written stays in its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[float, bytes]] = []
        self.reads = True
        self.buffered_bytes = 0
        self.closing = False
        self.aborted = 0
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing, "written after the end"
        assert isinstance(data, bytes)
        self.writes.append((seconds(), data))
        if not self.reads:
            self.buffered_bytes += len(data)
        self.on_write()

    def get_write_buffer_size(self) -> int:
        return self.buffered_bytes

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True
        self.aborted += 1
        self.buffered_bytes = 0

    def stall(self) -> None:
        """From now on nothing is taken out of the buffer."""
        self.reads = False

    def drain(self, count: int | None = None) -> None:
        """Takes so many bytes out of the buffer; None: all, and what comes from now on at once."""
        if count is None:
            self.reads, self.buffered_bytes = True, 0
        else:
            self.buffered_bytes = max(0, self.buffered_bytes - count)


class FakeClient:
    """A subscriber of the hub's over a transport that remembers; counts how often it was evicted."""

    def __init__(self, name: str, topics: Topics, wire: Wire = WEBSOCKET) -> None:
        self.transport = RecordingTransport()
        self.evicted = 0
        self._frames: list[tuple[float, int, Message | None]] = []
        self._write_of: list[int] = []
        self._parsed = 0
        self.subscriber = Subscriber(name, "192.0.2.1", self.transport, wire, topics, self._evict)

    def _evict(self) -> None:
        self.evicted += 1

    @property
    def writes(self) -> list[bytes]:
        return [data for _, data in self.transport.writes]

    def frames(self) -> list[tuple[float, int, Message | None]]:
        """Every frame written: when, how long, and its message; None: a ping."""
        for write, (at_s, data) in enumerate(self.transport.writes[self._parsed :], start=self._parsed):
            rest = data
            while rest:
                taken = take_frame(rest)
                assert taken is not None, "a write holds whole frames"
                frame, length = taken
                rest = rest[length:]
                message = parse(frame.payload.decode()) if frame.opcode == Opcode.TEXT else None
                self._frames.append((at_s, length, message))
                self._write_of.append(write)
        self._parsed = len(self.transport.writes)
        return self._frames

    def timed(self, since: int = 0) -> list[tuple[float, Message]]:
        """Every message in the writes from index `since` on, and when it was written; pings are left out."""
        frames = self.frames()
        first = bisect_left(self._write_of, since)
        return [(at_s, message) for at_s, _, message in frames[first:] if message is not None]

    def messages(self, since: int = 0) -> list[Message]:
        """Every message in the writes from index `since` on."""
        return [message for _, message in self.timed(since)]

    def of_type(self, type: str, since: int = 0) -> list[Message]:
        return [message for message in self.messages(since) if message["type"] == type]

    def told_missing(self) -> list[Message]:
        """The data of each connection_error that says what this client missed."""
        errors = [message["data"] for message in self.of_type("connection_error")]
        return [data for data in errors if data["reason"] == "behind"]

    def seqs(self, since: int = 0) -> list[int]:
        """The numbers of the live events."""
        return [message["seq"] for message in self.messages(since) if "seq" in message and "snapshot" not in message]


class Gateway:
    """A hub that runs over a mirror, and the bridge's side of the mirror."""

    def __init__(
        self,
        *,
        heartbeat_s: float = 3600.0,
        stall_s: float = 30.0,
        max_log_events: int = 1000,
        max_bytes: int = 16 << 20,
    ) -> None:
        self.mirror = Mirror(
            max_log_events=max_log_events,
            max_bytes=max_bytes,
            clock=seconds,
            wall_clock=lambda: EPOCH_S + seconds(),
        )
        self.hub = Hub(self.mirror, heartbeat_s=heartbeat_s, stall_s=stall_s, clock=seconds)
        self._names = 0
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.hub.run())
        self.new_epoch("e1")
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        ended = self._running.done()
        self._running.cancel()
        await asyncio.wait([self._running])
        assert not ended, f"the hub ended by itself: {self._running}"

    @property
    def head(self) -> int:
        return self.mirror.journal.head

    def publish(self, *events: events_pb2.Event) -> None:
        """One message of the bridge with these events."""
        for event in events:
            self.mirror.take(event)
        self.mirror.complete(self.head)

    def state(self, type: str = "system.status", key: str = "current", **data: Any) -> None:
        self.publish(state(self.head + 1, type, key, **data))

    def log(self, type: str = "notification", **data: Any) -> None:
        self.publish(log(self.head + 1, type, **data))

    def new_epoch(self, epoch: str, *events: events_pb2.Event) -> None:
        """The bridge has another journal, with these events in it."""
        self.mirror.begin(epoch)
        for event in events:
            self.mirror.take(event)
        self.mirror.complete(events[-1].seq if events else 0)

    def lose_bridge(self, failures: int = 1, reason: Reason = "rpc_disconnect") -> None:
        self.mirror.bridge_lost(failures, reason)

    def recover(self, *events: events_pb2.Event) -> None:
        """The bridge is back with the same journal, and these events are new."""
        self.publish(*events)

    def client(self, types: Iterable[str] | Topics = DEFAULT_TYPES, *, wire: Wire = WEBSOCKET) -> FakeClient:
        """One that has not joined yet. Those with the same types have the same Topics, as sessions do."""
        self._names += 1
        return FakeClient(f"c{self._names}", types if isinstance(types, Topics) else topics_of(frozenset(types)), wire)

    def join(
        self,
        types: Iterable[str] | Topics = DEFAULT_TYPES,
        *,
        resume: Position | None = None,
        snapshot: bool = True,
        wire: Wire = WEBSOCKET,
    ) -> FakeClient:
        client = self.client(types, wire=wire)
        self.hub.join(client.subscriber, resume=resume, snapshot=snapshot)
        return client

    def leave(self, client: FakeClient) -> None:
        self.hub.leave(client.subscriber)


# --- the gateway over HTTP


class Served(Gateway):
    """A gateway that clients connect to over real sockets. Its bridge is still the test; time is real."""

    def __init__(
        self,
        *,
        max_clients: int = 100,
        max_clients_per_address: int = 100,
        limits: ClientLimits = LIMITS,
        **how: Any,
    ) -> None:
        super().__init__(**how)
        self.admission = Admission(max_clients, max_clients_per_address)
        self.sessions = Sessions(self.hub, self.admission, limits=limits)
        self.streams = EventStreams(self.hub, self.admission)
        self.upstream = Upstream("127.0.0.1:1", self.mirror)
        self.transports: list[asyncio.Transport] = []
        """Of every request, in the order in which they came."""
        self.port = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        app = web.Application(middlewares=[self._remember])
        app.add_routes(Pages(self.mirror, self.hub, self.upstream, self.admission).routes())
        app.add_routes([web.get("/ws", self.sessions.handle), web.get("/api/v1/events", self.streams.handle)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._runner.cleanup()
        await super().__aexit__(*why)

    @web.middleware
    async def _remember(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        assert request.transport is not None
        self.transports.append(request.transport)
        return await handler(request)

    def ws_url(self, query: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}/ws{query}"

    def http_url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def empty(self) -> None:
        """Returns when every client has left the hub."""
        await until(lambda: len(self.hub) == 0, within_s=3, what="no clients")


# --- the bridge over gRPC


def subscribed(
    epoch: str, seq: int, *, replayed: int = 0, recovered: bool = False, lost: int = 0, superseded: int = 0
) -> pb.SubscribeResponse:
    """The first response."""
    return pb.SubscribeResponse(
        subscribed=pb.Subscribed(
            position=events_pb2.Position(epoch=epoch, seq=seq),
            replayed=replayed,
            recovered=recovered,
            lost=lost,
            superseded=superseded,
            heartbeat_s=5,
        )
    )


def batch(*events: events_pb2.Event) -> pb.SubscribeResponse:
    return pb.SubscribeResponse(batch=pb.EventBatch(events=events))


def progress(epoch: str, seq: int) -> pb.SubscribeResponse:
    return pb.SubscribeResponse(progress=pb.ProgressMark(position=events_pb2.Position(epoch=epoch, seq=seq)))


class ScriptedBridge(event_service_pb2_grpc.EventServiceServicer):
    """A real gRPC server of engine_events.v1 that says what a test puts into `say`, on whichever stream is open.

    Made by `open`. A status code in `say` ends the stream with it. `asked`: the position of each Subscribe, as text.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.asked_at_s: list[float] = []
        self.say: asyncio.Queue[pb.SubscribeResponse | grpc.StatusCode] = asyncio.Queue()
        self.address = ""
        self._asked = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, listen: str = "127.0.0.1:0", tls: TlsFiles | None = None) -> AsyncIterator["ScriptedBridge"]:
        """`tls` None: in the clear."""
        bridge = cls()
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        event_service_pb2_grpc.add_EventServiceServicer_to_server(bridge, server)
        bridge.address = f"127.0.0.1:{bind(server, listen, tls)}"
        await server.start()
        try:
            yield bridge
        finally:
            await server.stop(None)

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[pb.SubscribeResponse]:
        assert request.HasField("after"), "without a position only what is new would come"
        self.asked.append(f"{request.after.epoch}.{request.after.seq}")
        self.asked_at_s.append(seconds())
        self._asked.set()
        while True:
            what = await self.say.get()
            if not isinstance(what, pb.SubscribeResponse):
                await context.abort(what, "scripted")
            yield what

    def tell(self, *what: pb.SubscribeResponse | grpc.StatusCode) -> None:
        """Says all this, one after the other."""
        for one in what:
            self.say.put_nowait(one)

    async def asked_times(self, count: int, *, within_s: float = 5.0) -> None:
        """Returns when Subscribe has been called so often."""
        async with asyncio.timeout(within_s):
            while len(self.asked) < count:
                self._asked.clear()
                await self._asked.wait()
