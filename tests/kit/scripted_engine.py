"""A gRPC engine that does what a test says: a real server of engine_rpc.v1 and grpc.health.v1, method by method.

In a test's own loop: `async with ScriptedEngine() as engine`. As a process, to be killed and frozen:
`python -m tests.kit.scripted_engine --listen 127.0.0.1:PORT --rate N` publishes the notifications n=1, n=2, … N times
a second, under a new epoch each time it starts.
"""

import argparse
import asyncio
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from tests.kit.script import HANG, Hang, Script

__all__ = ["METHODS", "Answer", "Fail", "ScriptedEngine", "main", "notification"]

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.max_send_message_length", -1),  # absurd sizes are on purpose
]
_BATCH_EVENTS = 500
_ENGINE_SERVICE = "engine_rpc.v1.EngineService"
_HEALTH_SERVICE = "grpc.health.v1.Health"


@dataclass(frozen=True)
class Answer:
    """Answers with a message, with bytes that may be none, or with what a function makes of the request."""

    value: Message | bytes | Callable[[Any], Message | bytes]


@dataclass(frozen=True)
class Fail:
    """Answers with an error status."""

    code: grpc.StatusCode
    details: str = "scripted"


Behaviour: TypeAlias = Answer | Fail

METHODS = (
    "GetSystemStatus",
    "GetStorageStatus",
    "ListAgents",
    "ListCompressionJobs",
    "WatchEvents",
    "SubmitCompressionJob",
    "CancelCompressionJob",
    "Check",
)
"""What can be scripted. Check is that of grpc.health.v1."""


def notification(message: str, level: int = events_pb2.NOTIFICATION_LEVEL_INFO) -> events_pb2.Event:
    """A log event for `push`."""
    event = events_pb2.Event(type="notification")
    event.observed_at.GetCurrentTime()
    event.notification.message = message
    event.notification.level = level  # type: ignore[assignment]  # an int is how protobuf has enums
    event.notification.source = "scripted"
    event.notification.timestamp = time.time()
    return event


class ScriptedEngine:
    """An engine whose every method can be made to answer anything, fail, hang or not exist, while it runs.

    Normal answers are plausible and change from call to call. What is set for WatchEvents holds for the open streams
    too: HANG silences them, Fail ends them with that status, Answer of bytes or a message goes to each stream once and
    ends it. All methods but `start`, `stop`, `restart` and the waits take effect at once and are not coroutines.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        quiet_s: float = 1.0,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """`port` 0: any, kept from the first start on. `quiet_s`: a quiet stream gets an empty response so often.
        `credentials` None: in the clear; may be changed until the next start."""
        self.host = host
        self.port = port
        self.quiet_s = quiet_s
        self.credentials = credentials
        self.script: Script[Behaviour] = Script()
        self.epoch = uuid.uuid4().hex
        self.events: list[events_pb2.Event] = []
        """Everything pushed in this epoch; the engine's own seq of an event is its index + 1."""
        self.forgotten = 0
        """So many of the first events are gone: a watcher that resumes before them is told `lost`."""
        self.watchers = 0
        """Streams open at this moment."""
        self.requests: list[tuple[str, Any]] = []
        """Every request, by method, in the order of arrival."""
        self._server: grpc.aio.Server | None = None
        self._grown = asyncio.Event()
        self._raw: list[engine_service_pb2.WatchEventsResponse | bytes] = []

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For ENGINE_BRIDGE_ENGINE."""
        return f"{'grpc' if self.credentials is None else 'grpcs'}://{self.address}"

    @property
    def calls(self) -> Counter[str]:
        """Calls that arrived, by method; 0 where there were none."""
        return self.script.calls

    # ---- what it does

    def answer(self, method: str, value: Message | bytes | Callable[[Any], Message | bytes]) -> None:
        """From now on the method gives this."""
        self.script.set(_known(method), Answer(value))

    def fail(self, method: str, code: grpc.StatusCode = grpc.StatusCode.INTERNAL, details: str = "scripted") -> None:
        """From now on the method ends with this status."""
        self.script.set(_known(method), Fail(code, details))

    def absent(self, method: str) -> None:
        """From now on the method does not exist."""
        self.fail(method, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def hang(self, method: str) -> None:
        """From now on calls of the method are not answered, until something else is set for it."""
        self.script.set(_known(method), HANG)

    def restore(self, *methods: str) -> None:
        """These methods (none: all) behave normally again, calls that hang are answered."""
        for method in methods or METHODS:
            self.script.set(_known(method), None)

    def set_health(self, status: int) -> None:
        """What Check answers, a health_pb2.HealthCheckResponse.ServingStatus."""
        self.answer("Check", health_pb2.HealthCheckResponse(status=status))

    # ---- what it pushes

    def push(self, event: events_pb2.Event) -> int:
        """Publishes an event to every watcher, now and when they resume; gives the engine's own number of it."""
        self.events.append(event)
        self._wake()
        return len(self.events)

    def notify(self, message: str, level: int = events_pb2.NOTIFICATION_LEVEL_INFO) -> int:
        """Pushes a notification."""
        return self.push(notification(message, level))

    def push_job(self, job_id: str, *, progress: float, status: int = events_pb2.JOB_STATUS_RUNNING) -> int:
        """Pushes the state of a compression job."""
        event = events_pb2.Event(type="compression.update", key=job_id)
        event.observed_at.GetCurrentTime()
        event.compression_job.CopyFrom(_job(job_id, progress, status))
        return self.push(event)

    def push_other(self, kind: str, data: dict[str, Any], key: str = "") -> int:
        """Pushes an event of the engine's own type with free data; with a key it is a state."""
        event = events_pb2.Event(type=kind, key=key)
        event.observed_at.GetCurrentTime()
        event.other.update(data)
        return self.push(event)

    def push_raw(self, response: engine_service_pb2.WatchEventsResponse | bytes) -> None:
        """Sends a response, or bytes that are none, to the streams that are open now; not kept."""
        self._raw.append(response)
        self._wake()

    def forget(self, count: int) -> None:
        """The first `count` events are gone for watchers that resume before them."""
        self.forgotten = max(self.forgotten, min(count, len(self.events)))

    def new_epoch(self) -> None:
        """Forgets everything pushed, as an engine that was started anew; open streams go on from there."""
        self.epoch = uuid.uuid4().hex
        self.events = []
        self.forgotten = 0
        self._wake()

    # ---- its life

    async def start(self) -> None:
        """Listens. OSError: the port is in use."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._engine_handlers(), self._health_handlers()))
        try:
            if self.credentials is None:
                port = server.add_insecure_port(self.address)
            else:
                port = server.add_secure_port(self.address, self.credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self.address}: {error}") from None
        self.port = port
        await server.start()
        self._server = server

    async def stop(self, grace_s: float = 0.0) -> None:
        """Ends: GOAWAY to every client, calls that run have `grace_s` seconds to finish. Stopping twice is allowed."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)

    async def restart(self, grace_s: float = 0.0) -> None:
        """Stops and listens on the same port again, with all it knows."""
        await self.stop(grace_s)
        await self.start()

    async def wait_called(self, method: str, count: int = 1, *, within_s: float = 5.0) -> None:
        """Waits until a method was called that many times since the start. AssertionError: not in time."""
        await self.script.wait_called(_known(method), count, within_s=within_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        await self.stop()

    # ---- the server

    def _engine_handlers(self) -> grpc.GenericRpcHandler:
        pb = engine_service_pb2
        normal: dict[str, tuple[type[Message], Callable[[Any], Message]]] = {
            "GetSystemStatus": (pb.GetSystemStatusRequest, lambda _: self._system_status()),
            "GetStorageStatus": (pb.GetStorageStatusRequest, lambda _: _storage_status()),
            "ListAgents": (pb.ListAgentsRequest, lambda _: _agents()),
            "ListCompressionJobs": (pb.ListCompressionJobsRequest, lambda _: self._jobs()),
            "SubmitCompressionJob": (
                pb.SubmitCompressionJobRequest,
                lambda _: pb.SubmitCompressionJobResponse(job=_job("submitted", 0.0, events_pb2.JOB_STATUS_PENDING)),
            ),
            "CancelCompressionJob": (
                pb.CancelCompressionJobRequest,
                lambda request: pb.CancelCompressionJobResponse(
                    job=_job(request.job_id, 0.0, events_pb2.JOB_STATUS_CANCELLED)
                ),
            ),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            method: self._unary(method, request_type, answer) for method, (request_type, answer) in normal.items()
        }
        handlers["WatchEvents"] = grpc.unary_stream_rpc_method_handler(
            self._watch,
            request_deserializer=pb.WatchEventsRequest.FromString,
            response_serializer=_serialize,
        )
        return grpc.method_handlers_generic_handler(_ENGINE_SERVICE, handlers)

    def _health_handlers(self) -> grpc.GenericRpcHandler:
        serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        check = self._unary("Check", health_pb2.HealthCheckRequest, lambda _: serving)
        return grpc.method_handlers_generic_handler(_HEALTH_SERVICE, {"Check": check})

    def _unary(
        self, method: str, request_type: type[Message], normal: Callable[[Any], Message]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        async def handle(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Message | bytes:
            self._count(method, request)
            self.script.in_flight[method] += 1
            try:
                behaviour = await self.script.behaviour(method)
            finally:
                self.script.in_flight[method] -= 1
            if isinstance(behaviour, Fail):
                await context.abort(behaviour.code, behaviour.details)
            value = normal if behaviour is None else behaviour.value
            return value(request) if callable(value) else value

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=_serialize,
        )

    async def _watch(
        self, request: engine_service_pb2.WatchEventsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[engine_service_pb2.WatchEventsResponse | bytes]:
        self._count("WatchEvents", request)
        self.watchers += 1
        try:
            async for response in self._responses(request, context):
                yield response
        finally:
            self.watchers -= 1

    async def _responses(
        self, request: engine_service_pb2.WatchEventsRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[engine_service_pb2.WatchEventsResponse | bytes]:
        raw_sent = len(self._raw)
        epoch, cursor, response = "", 0, None
        while True:
            grown, changed = self._grown, self.script.next_change
            behaviour = self.script.peek("WatchEvents")
            if isinstance(behaviour, Hang):
                await changed.wait()
                continue
            if isinstance(behaviour, Fail):
                await context.abort(behaviour.code, behaviour.details)
            if isinstance(behaviour, Answer):
                value: Any = behaviour.value(request) if callable(behaviour.value) else behaviour.value
                yield value
                return
            if response is None:
                epoch, cursor, response = self._first(request)
                yield response
                continue
            if epoch != self.epoch:
                epoch, cursor = self.epoch, 0
            if raw_sent < len(self._raw):
                raw_sent += 1
                yield self._raw[raw_sent - 1]
                continue
            events = self.events[cursor : cursor + _BATCH_EVENTS]
            if not events:
                if not await self._woken(grown, changed):
                    yield self._response([], cursor)
                continue
            cursor += len(events)
            yield self._response(events, cursor)

    def _first(
        self, request: engine_service_pb2.WatchEventsRequest
    ) -> tuple[str, int, engine_service_pb2.WatchEventsResponse]:
        if request.HasField("after") and request.after.epoch == self.epoch and request.after.seq <= len(self.events):
            cursor = max(request.after.seq, self.forgotten)
            lost = sum(1 for event in self.events[request.after.seq : cursor] if not event.key)
            return self.epoch, cursor, self._response([], cursor, lost=lost)
        states = {(event.type, event.key): event for event in self.events if event.key}
        return self.epoch, len(self.events), self._response(list(states.values()), len(self.events))

    def _response(
        self, events: list[events_pb2.Event], seq: int, lost: int = 0
    ) -> engine_service_pb2.WatchEventsResponse:
        position = events_pb2.Position(epoch=self.epoch, seq=seq)
        return engine_service_pb2.WatchEventsResponse(position=position, events=events, lost=lost)

    async def _woken(self, *wanted: asyncio.Event) -> bool:
        """Waits until an event is pushed or a behaviour set; False: it was quiet for `quiet_s`."""
        waits = [asyncio.create_task(event.wait()) for event in wanted]
        try:
            done, _ = await asyncio.wait(waits, timeout=self.quiet_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()  # those who waited hold the old one

    def _count(self, method: str, request: Any) -> None:
        self.script.calls[method] += 1
        self.requests.append((method, request))

    # ---- normal answers

    def _system_status(self) -> engine_service_pb2.GetSystemStatusResponse:
        response = engine_service_pb2.GetSystemStatusResponse()
        status = response.status
        status.hostname, status.platform = "scripted", "Linux scripted"
        status.uptime = 1000.0 + self.script.calls["GetSystemStatus"]  # no two answers are the same
        status.cpu_usage = float(self.script.calls["GetSystemStatus"] % 100)
        status.memory_used, status.memory_total, status.memory_pct = 4 << 30, 16 << 30, 25.0
        status.load_average.extend([0.5, 0.25, 0.125])
        status.timestamp = time.time()
        return response

    def _jobs(self) -> engine_service_pb2.ListCompressionJobsResponse:
        states = {event.key: event.compression_job for event in self.events if event.type == "compression.update"}
        jobs = list(states.values())
        queue = events_pb2.CompressionQueue(
            jobs=jobs,
            total_running=sum(1 for job in jobs if job.status == events_pb2.JOB_STATUS_RUNNING),
            total_pending=sum(1 for job in jobs if job.status == events_pb2.JOB_STATUS_PENDING),
            total_jobs=len(jobs),
            timestamp=time.time(),
        )
        return engine_service_pb2.ListCompressionJobsResponse(queue=queue)


def _storage_status() -> engine_service_pb2.GetStorageStatusResponse:
    response = engine_service_pb2.GetStorageStatusResponse()
    response.storage.timestamp = time.time()
    response.storage.pools.add(
        name="tank",
        type="zfs",
        state=events_pb2.POOL_STATE_ONLINE,
        mount_point="/tank",
        device="sda,sdb",
        size=10**12,
        allocated=4 * 10**11,
        free=6 * 10**11,
        capacity_pct=40.0,
        read_errors=0,
        write_errors=0,
        checksum_errors=0,
    )
    return response


def _agents() -> engine_service_pb2.ListAgentsResponse:
    response = engine_service_pb2.ListAgentsResponse()
    agents = response.agents
    for number, state in enumerate((events_pb2.AGENT_STATE_IDLE, events_pb2.AGENT_STATE_BUSY), start=1):
        agent = events_pb2.Agent(id=f"agent-{number}", codename=f"Agent {number}", status=state, tier="worker")
        agent.tasks_completed, agent.success_rate, agent.memory_usage = number, 1.0, 12.5
        agents.agents[agent.id].CopyFrom(agent)
    agents.total_agents, agents.active_agents, agents.idle_agents, agents.error_agents = 2, 1, 1, 0
    agents.timestamp = time.time()
    return response


def _job(job_id: str, progress: float, status: int) -> events_pb2.CompressionJob:
    return events_pb2.CompressionJob(
        job_id=job_id,
        status=status,  # type: ignore[arg-type]  # an int is how protobuf has enums
        job_type=events_pb2.JOB_TYPE_COMPRESS_DATA,
        priority=events_pb2.JOB_PRIORITY_NORMAL,
        progress=progress,
        bytes_processed=int(progress * 1000),
        bytes_total=100_000,
        timestamp=time.time(),
    )


def _known(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"{method} is not one of {', '.join(METHODS)}")
    return method


def _serialize(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


async def _serve(listen: str, rate_per_s: float, first: int, quiet_s: float) -> None:
    host, _, port = listen.rpartition(":")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with ScriptedEngine(host, int(port), quiet_s=quiet_s) as engine:
        pushed = 0
        due_s = loop.time()
        while not stop.is_set():
            # what was not pushed while the process was frozen is not made up for: the engine did nothing then
            due_s = max(due_s + (1 / rate_per_s if rate_per_s else 1.0), loop.time() - 0.1)
            try:
                async with asyncio.timeout_at(due_s):
                    await stop.wait()
            except TimeoutError:
                if rate_per_s:
                    engine.notify(f"n={first + pushed}")
                    pushed += 1


def main() -> None:
    """Runs the engine until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A scripted engine that publishes numbered notifications.")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    parser.add_argument("--rate", type=float, default=0.0, help="notifications a second (0: none)")
    parser.add_argument("--first", type=int, default=1, help="number of the first one")
    parser.add_argument("--quiet-s", type=float, default=1.0, help="a quiet stream gets an empty response so often")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.listen, arguments.rate, arguments.first, arguments.quiet_s))


if __name__ == "__main__":
    main()
