"""What these tests are made of: time that passes at once, a feed that remembers, an engine in memory."""

import asyncio
import functools
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

from engine_events.v1 import events_pb2

from engine_bridge.engines.contract import Pushed
from engine_bridge.errors import TimedOut, Unreachable
from engine_bridge.feed import Feed
from engine_bridge.source import BreakerSettings, Source
from eventlog import Journal

__all__ = [
    "DEAF",
    "HANG",
    "TOPICS",
    "ManualClock",
    "MemoryEngine",
    "RecordingFeed",
    "in_virtual_time",
    "job",
    "notification",
    "pass_time",
    "queue",
    "running",
    "seconds",
    "source_of",
    "state",
    "status",
]

P = ParamSpec("P")

TOPICS = ("system.status", "storage.update", "agent.status", "compression.update")
HANG = "hang"
"""No answer, which the adapter says when the time is up."""
DEAF = "deaf"
"""No answer, and the adapter does not keep the time either."""
_EPOCH_S = 1_700_000_000.0


class ManualClock:
    """Seconds that pass only when told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """When everything waits, the clock jumps to the next timer."""

    def __init__(self) -> None:
        self._now_s = 1024.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, by_s: float) -> None:
        self._now_s += by_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: _VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never comes"
            self._loop.jump(timeout)
        return ready


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test on a loop of its own, in which waiting takes no time. For tests without sockets."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def seconds() -> float:
    """The loop's clock."""
    return asyncio.get_running_loop().time()


async def pass_time(by_s: float) -> None:
    """Lets everything happen that happens within this time, in virtual time."""
    assert isinstance(asyncio.get_running_loop(), _VirtualTimeLoop)
    await asyncio.sleep(by_s)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that run for as long as the block; an error in one of them is raised at its end."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end


class RecordingFeed(Feed):
    """A feed that keeps everything ever published, also what was superseded."""

    def __init__(self, *, clock: Callable[[], float] | None = None, **bounds: int) -> None:
        self._seconds = clock or seconds
        limits = {"max_log_events": 1000, "max_bytes": 1 << 24, **bounds}
        super().__init__(Journal("e", **limits), wall_clock=lambda: _EPOCH_S + self._seconds())
        self.history: list[events_pb2.Event] = []

    def publish(self, events: Iterable[events_pb2.Event]) -> None:
        published = list(events)
        super().publish(published)
        for event in published:
            copy = events_pb2.Event()
            copy.CopyFrom(event)
            self.history.append(copy)

    def types(self) -> list[str]:
        return [event.type for event in self.history]

    def of(self, type: str) -> list[events_pb2.Event]:
        return [event for event in self.history if event.type == type]

    def latest(self, type: str, key: str = "current") -> events_pb2.Event:
        entry = self.journal.state(type, key)
        assert entry is not None, f"nothing is known of {type} {key}"
        return entry.body


def source_of(
    feed: Feed,
    topic: str = "system.status",
    *,
    failures: int = 5,
    reset_s: float = 10,
    reset_max_s: float = 300,
    clock: Callable[[], float] | None = None,
) -> Source:
    """A source with the default breaker, on the loop's clock unless another is given."""
    return Source(
        topic,
        f"{topic.upper().replace('.', '_')}_FAILED",
        feed,
        BreakerSettings(failures, reset_s, reset_max_s),
        clock=clock or seconds,
    )


class MemoryEngine:
    """An engine without a wire. By default it answers every topic with one state, is healthy, and pushes nothing."""

    topics: Sequence[str] = TOPICS
    pushes = True

    def __init__(self) -> None:
        self.answers: dict[str, list[events_pb2.Event] | Exception | str] = {}
        self.once: dict[str, Exception] = {}
        """How the next call alone fails."""
        self.healthy: bool | str | Exception = True
        self.health_asked_at_s: list[float] = []
        self.calls: list[tuple[str, float]] = []
        self.most_in_flight: Counter[str] = Counter()
        self.delay_s = 0.0
        self.cancelled_calls = 0
        """While there was no answer."""
        self.watched: list[tuple[events_pb2.Position | None, float]] = []
        """Of every stream: the position asked for, and when."""
        self.first: Pushed | Exception | str = Pushed()
        """What every stream begins with."""
        self._in_flight: Counter[str] = Counter()
        self._streams: list[asyncio.Queue[Pushed | Exception | None]] = []

    def called_at_s(self, topic: str) -> list[float]:
        return [at_s for called, at_s in self.calls if called == topic]

    def go_down(self) -> None:
        """Nothing answers, and the streams break."""
        self.healthy = False
        self.first = Unreachable("down")
        self.answers = dict.fromkeys(TOPICS, self.first)
        self.send(Unreachable("broke"))

    def come_back(self) -> None:
        self.healthy = True
        self.first = Pushed()
        self.answers = {}

    def send(self, message: Pushed | Exception | None) -> None:
        """To every open stream; an error ends it, and so does None."""
        for stream in self._streams:
            stream.put_nowait(message)

    def push(self, *events: events_pb2.Event, position: int | None = None, lost: int = 0) -> None:
        self.send(Pushed(events, None if position is None else events_pb2.Position(epoch="m", seq=position), lost))

    async def fetch(self, topic: str, timeout_s: float) -> list[events_pb2.Event]:
        self.calls.append((topic, seconds()))
        self._in_flight[topic] += 1
        self.most_in_flight[topic] = max(self.most_in_flight[topic], self._in_flight[topic])
        try:
            await asyncio.sleep(self.delay_s)
            answer = self.once.pop(topic, None) or self.answers.get(topic)
            if isinstance(answer, str):
                await self._no_answer(answer, timeout_s)
                raise TimedOut(f"no answer within {timeout_s:g} s")
        finally:
            self._in_flight[topic] -= 1
        if isinstance(answer, Exception):
            raise answer
        return list(answer) if isinstance(answer, list) else [state(topic)]

    async def watch(self, after: events_pb2.Position | None) -> AsyncIterator[Pushed]:
        self.watched.append((after, seconds()))
        stream: asyncio.Queue[Pushed | Exception | None] = asyncio.Queue()
        if isinstance(self.first, str):
            await asyncio.Event().wait()
        if isinstance(self.first, Exception):
            raise self.first
        self._streams.append(stream)
        try:
            assert isinstance(self.first, Pushed)
            yield self.first
            while True:
                message = await stream.get()
                if message is None:
                    return
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            self._streams.remove(stream)

    async def is_healthy(self, timeout_s: float) -> bool:
        self.health_asked_at_s.append(seconds())
        if isinstance(self.healthy, str):
            await self._no_answer(self.healthy, timeout_s)
            return False
        if isinstance(self.healthy, Exception):
            raise self.healthy
        return bool(self.healthy)

    async def close(self) -> None:
        pass

    async def _no_answer(self, kind: str, timeout_s: float) -> None:
        try:
            await (asyncio.sleep(timeout_s) if kind == HANG else asyncio.Event().wait())
        except asyncio.CancelledError:
            self.cancelled_calls += 1
            raise


def status(cpu_usage: float = 1.0) -> events_pb2.Event:
    return events_pb2.Event(
        type="system.status", key="current", system_status=events_pb2.SystemStatus(cpu_usage=cpu_usage)
    )


def job(
    job_id: str,
    progress: float = 0.0,
    status: events_pb2.JobStatus.ValueType = events_pb2.JOB_STATUS_RUNNING,
    timestamp: float = 0.0,
) -> events_pb2.Event:
    payload = events_pb2.CompressionJob(job_id=job_id, status=status, progress=progress, timestamp=timestamp)
    return events_pb2.Event(type="compression.update", key=job_id, compression_job=payload)


def queue(total_jobs: int = 0) -> events_pb2.Event:
    payload = events_pb2.CompressionQueue(total_jobs=total_jobs)
    return events_pb2.Event(type="compression.update", key="queue", compression_queue=payload)


def state(type: str, key: str = "current", **data: Any) -> events_pb2.Event:
    """A state with free data, whatever its type."""
    event = events_pb2.Event(type=type, key=key)
    event.other.update(data)
    return event


def notification(message: str) -> events_pb2.Event:
    return events_pb2.Event(type="notification", notification=events_pb2.Notification(message=message))
