"""engine_events.v1.EventService: every reader is a cursor over the journal."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from engine_bridge.feed import Feed
from engine_bridge.guard import State
from engine_bridge.source import Source
from engine_bridge.timestamps import timestamp
from eventlog import EVERYTHING, Entry, Gap, Position, Topics, is_pattern

__all__ = ["EventService"]

log = structlog.get_logger()

_BATCH_BYTES = 256 << 10
"""What one message holds at the most, give or take an event: large enough that its cost is shared by many events, small
enough that a slow reader's cursor moves."""
_MAX_TYPES = 256
_BREAKER_STATES = {
    State.CLOSED: pb.BREAKER_STATE_CLOSED,
    State.OPEN: pb.BREAKER_STATE_OPEN,
    State.HALF_OPEN: pb.BREAKER_STATE_HALF_OPEN,
}

_Context = grpc.aio.ServicerContext[Any, Any]


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Serves one feed until `stop`."""

    def __init__(
        self,
        feed: Feed,
        sources: Sequence[Source],
        *,
        engine_url: str,
        is_engine_healthy: Callable[[], bool],
        heartbeat_s: float,
        max_subscribers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._sources = sorted(sources, key=lambda source: source.topic)
        self._engine_url = engine_url
        self._is_engine_healthy = is_engine_healthy
        self._heartbeat_s = heartbeat_s
        self._max_subscribers = max_subscribers
        self._clock = clock
        self._subscribers = 0
        self._started_at_s = feed.now_s()
        self._stopping = False

    def stop(self) -> None:
        """Ends every stream with UNAVAILABLE, so that readers come back and resume."""
        self._stopping = True
        self._feed.publish(())

    async def Subscribe(self, request: pb.SubscribeRequest, context: _Context) -> AsyncIterator[pb.SubscribeResponse]:
        topics = await _topics(request.types, context)
        if request.after.seq and not request.after.epoch:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "a position needs its epoch")
        if self._subscribers >= self._max_subscribers:
            log.warning("subscriber_refused", subscribers=self._subscribers)
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many subscribers")
        self._subscribers += 1
        peer = context.peer()
        log.info("subscriber_joined", peer=peer, subscribers=self._subscribers)
        try:
            after = Position(request.after.epoch, request.after.seq) if request.HasField("after") else None
            async for response in self._stream(topics, after, snapshot=request.snapshot):
                yield response
        finally:
            self._subscribers -= 1
            log.info("subscriber_left", peer=peer, subscribers=self._subscribers)
        await _abort(context, grpc.StatusCode.UNAVAILABLE, "the bridge is stopping")

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: _Context) -> pb.GetSnapshotResponse:
        topics = await _topics(request.types, context)
        journal = self._feed.journal
        return pb.GetSnapshotResponse(
            position=_position(journal.position), events=[entry.body for entry in journal.states(topics)]
        )

    async def GetBridgeStatus(
        self, request: pb.GetBridgeStatusRequest, context: _Context
    ) -> pb.GetBridgeStatusResponse:
        journal = self._feed.journal
        return pb.GetBridgeStatusResponse(
            sources=[_source_status(source) for source in self._sources],
            position=_position(journal.position),
            journal_events=len(journal),
            journal_bytes=journal.size_bytes,
            oldest_log_seq=journal.oldest_log_seq,
            journal_max_events=journal.max_log_events,
            journal_max_bytes=journal.max_bytes,
            subscribers=self._subscribers,
            engine=self._engine_url,
            engine_healthy=self._is_engine_healthy(),
            started_at=timestamp(self._started_at_s),
        )

    async def _stream(
        self, topics: Topics, after: Position | None, *, snapshot: bool
    ) -> AsyncIterator[pb.SubscribeResponse]:
        """Everything a reader gets. A reader that does not read blocks the yield, and its cursor stays."""
        journal = self._feed.journal
        known = after is not None and journal.holds(after)
        cursor = after.seq if after is not None and known else journal.head
        replay = journal.since(cursor, topics)
        # taken together with the position: a state of a later number is sent in its turn, and not twice
        states = journal.states(topics) if snapshot and not known else []
        gap = isinstance(replay, Gap)
        yield pb.SubscribeResponse(
            subscribed=pb.Subscribed(
                position=_position(journal.position),
                recovered=known and not gap,
                lost=replay.lost if isinstance(replay, Gap) else 0,
                superseded=replay.superseded,
                replayed=len(replay.entries),
                heartbeat_s=self._heartbeat_s,
            )
        )
        for run in _slices(states):
            yield pb.SubscribeResponse(batch=_batch(run, snapshot=True))
        # what was superseded up to now has been told; more may be until the reader has got it all
        superseded = -replay.superseded
        spoke_at_s = self._clock()
        while not self._stopping:
            answer = journal.since(cursor, topics, max_bytes=_BATCH_BYTES)
            superseded += answer.superseded
            cursor = answer.through_seq
            if isinstance(answer, Gap):
                log.warning("subscriber_gap", lost=answer.lost, from_seq=answer.from_seq, to_seq=answer.to_seq)
                yield pb.SubscribeResponse(gap=pb.Gap(lost=answer.lost, from_seq=answer.from_seq, to_seq=answer.to_seq))
            if answer.entries:
                yield pb.SubscribeResponse(batch=_batch(answer.entries, superseded=max(0, superseded)))
                superseded = min(0, superseded)
                spoke_at_s = self._clock()
            elif self._clock() - spoke_at_s >= self._heartbeat_s:
                position = events_pb2.Position(epoch=journal.epoch, seq=cursor)
                yield pb.SubscribeResponse(progress=pb.ProgressMark(position=position))
                spoke_at_s = self._clock()
            await self._feed.beyond(cursor, self._heartbeat_s - (self._clock() - spoke_at_s))


def _batch(entries: Sequence[Entry[events_pb2.Event]], *, superseded: int = 0, snapshot: bool = False) -> pb.EventBatch:
    return pb.EventBatch(events=[entry.body for entry in entries], superseded=superseded, snapshot=snapshot)


def _slices(entries: list[Entry[events_pb2.Event]]) -> Iterator[list[Entry[events_pb2.Event]]]:
    """The entries in runs of about _BATCH_BYTES each."""
    run: list[Entry[events_pb2.Event]] = []
    size_bytes = 0
    for entry in entries:
        run.append(entry)
        size_bytes += entry.size_bytes
        if size_bytes >= _BATCH_BYTES:
            yield run
            run, size_bytes = [], 0
    if run:
        yield run


def _position(position: Position) -> events_pb2.Position:
    return events_pb2.Position(epoch=position.epoch, seq=position.seq)


def _source_status(source: Source) -> pb.SourceStatus:
    def moment(unix_s: float | None) -> Timestamp | None:
        return None if unix_s is None else timestamp(unix_s)

    return pb.SourceStatus(
        topic=source.topic,
        breaker=_BREAKER_STATES[source.guard.state],
        consecutive_failures=source.guard.consecutive_failures,
        last_success=moment(source.last_success_s),
        last_error=source.last_error,
        next_try=None if source.off else moment(source.next_try_s),
        off=source.off,
        rejected=source.rejected,
    )


async def _topics(types: Sequence[str], context: _Context) -> Topics:
    if not types:
        return EVERYTHING
    if len(types) > _MAX_TYPES:
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"more than {_MAX_TYPES} types")
    if not all(map(is_pattern, types)):
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "a type is malformed")
    return Topics(types)


async def _abort(context: _Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort returned")
