"""Reads what the engine pushes, resumes where it stopped, and says so when the stream is silent or broken."""

import asyncio
import random
from collections.abc import Sequence

import structlog
from engine_events.v1 import events_pb2

from engine_bridge.engines import Engine, Pushed
from engine_bridge.errors import BadAnswer, CallFailed, MethodMissing, TimedOut, Unreachable
from engine_bridge.guard import Ticket
from engine_bridge.intake import Intake
from engine_bridge.source import OFF_S, Source
from engine_bridge.timestamps import timestamp

__all__ = ["Watcher"]

log = structlog.get_logger()

_FIRST_S = 5.0
"""An engine says something at once when it is watched."""
_SILENCE_S = 15.0
"""And every 5 s after that; keepalive alone does not notice a frozen engine on a silent stream."""
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.2, 5.0
_STEADY_S = 30.0
"""A stream that stood this long makes the next break a new one."""


class Watcher:
    """The engine's stream as a source of its own, beside the polled ones."""

    def __init__(self, source: Source, polled: Sequence[Source], engine: Engine) -> None:
        self._source = source
        self._polled = {other.topic: other for other in polled}
        self._engine = engine
        self._intake = Intake()
        self._after: events_pb2.Position | None = None
        self._backoff_s = _BACKOFF_FIRST_S

    async def run(self) -> None:
        """Runs until it is cancelled."""
        source = self._source
        while True:
            ticket = source.guard.admit()
            if ticket is None:
                source.refused()
                await source.rest(max(0.1, source.guard.retry_after_s))
                continue
            try:
                await self._read(ticket)
            except MethodMissing:
                source.switch_off(ticket)
                await source.rest(OFF_S)
            except CallFailed as error:
                # a stream that broke after it stood had its ticket used for the success
                source.failed(source.guard.admit() or ticket, error)
                for other in self._polled.values():
                    other.retry_now()
                await source.rest(random.uniform(0, self._backoff_s))
                self._backoff_s = min(self._backoff_s * 2, _BACKOFF_MAX_S)

    async def _read(self, ticket: Ticket) -> None:
        """Reads one stream to its end, which is always an error."""
        stream = self._engine.watch(self._after)
        began_s = self._source.clock()
        first = True
        try:
            while True:
                limit_s = _FIRST_S if first else _SILENCE_S
                try:
                    async with asyncio.timeout(limit_s):
                        pushed = await anext(stream)
                except TimeoutError:
                    raise TimedOut(f"nothing from the engine's event stream for {limit_s:g} s") from None
                except StopAsyncIteration:
                    raise Unreachable("the engine ended its event stream") from None
                except asyncio.CancelledError:
                    # grpc.aio also raises this when the call or the channel ended, and nobody cancelled us
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    raise Unreachable("the call was cancelled") from None
                if first:
                    self._source.succeeded(ticket)
                    if self._is_resumed(pushed):
                        self._confirm()
                    first = False
                self._source.last_success_s = self._source.feed.now_s()
                if self._source.clock() - began_s > _STEADY_S:
                    self._backoff_s = _BACKOFF_FIRST_S
                self._publish(pushed)
        except (CallFailed, MethodMissing):
            raise
        except Exception as error:  # the adapter's own mistake must not end the other topics
            log.exception("adapter_failed", topic=self._source.topic)
            raise BadAnswer(f"the adapter failed: {type(error).__name__}") from None
        except BaseException:
            ticket.abandoned()
            raise
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # every adapter's watch is an async generator

    def _is_resumed(self, first: Pushed) -> bool:
        """Whether the engine goes on from where the stream before broke. Otherwise it sends its present states."""
        after, position = self._after, first.position
        return after is not None and position is not None and position.epoch == after.epoch != ""

    def _confirm(self) -> None:
        """What was said before the break holds until a later event says otherwise."""
        stale = self._source.holdings.confirmed()
        self._source.feed.publish(event for event in stale if self._owner(event.type) is self._source)

    def _owner(self, type: str) -> Source:
        """The source that answers for the states of a type."""
        owner = self._polled.get(type, self._source)
        return self._source if owner.off else owner

    def _publish(self, pushed: Pushed) -> None:
        source = self._source
        now_s = source.feed.now_s()
        if pushed.rejected:
            log.warning("engine_message_unreadable", count=pushed.rejected)
            source.rejected += pushed.rejected
        observed_at = timestamp(now_s)
        publish: list[events_pb2.Event] = []
        if pushed.lost:
            log.warning("engine_events_lost", lost=pushed.lost)
            publish.append(_lost(pushed.lost, now_s))
        for pushed_event in pushed.events:
            event = self._intake.check(pushed_event)
            if event is None:
                source.rejected += 1
                continue
            if not event.HasField("observed_at"):
                event.observed_at.CopyFrom(observed_at)
            if event.key:
                event = self._owner(event.type).holdings.take(event)
            publish.append(event)
        source.feed.publish(publish)
        if pushed.position is not None:
            self._after = pushed.position


def _lost(count: int, now_s: float) -> events_pb2.Event:
    payload = events_pb2.Notification(
        message=f"{count} events of the engine were gone before they could be read",
        level=events_pb2.NOTIFICATION_LEVEL_WARNING,
        source="engine_bridge",
        timestamp=now_s,
    )
    return events_pb2.Event(type="notification", notification=payload)
