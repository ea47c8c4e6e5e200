"""What the engine pushes: its own journal, and one cursor for each watcher. No queue for anybody."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from engine_events.v1 import events_pb2

from eventlog import Gap, Journal, Position
from host_engine.errors import Stopping, TooManyWatchers

__all__ = ["Batch", "Feed"]

log = structlog.get_logger()

# the bridge takes 15 s of silence for a broken stream
_QUIET_S = 5.0
_MAX_LOG_EVENTS = 1000
_MAX_BYTES = 16 << 20
# well below gRPC's limit of 4 MiB for one message, also with a queue event of the longest paths on top
_BATCH_BYTES = 1 << 20

IsPresent: TypeAlias = Callable[[events_pb2.Event], bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is new for one watcher, and where it stands then. No events: nothing happened for a while."""

    position: Position
    events: list[events_pb2.Event]
    lost: int = 0


class Feed:
    """Events in, batches out to any number of watchers up to a limit. Publishing is synchronous and never waits."""

    def __init__(self, *, max_watchers: int) -> None:
        self.journal: Journal[events_pb2.Event] = Journal(
            secrets.token_hex(8), max_log_events=_MAX_LOG_EVENTS, max_bytes=_MAX_BYTES
        )
        self._max_watchers = max_watchers
        self._watchers_count = 0
        self._changed = asyncio.Event()
        self._closed = False

    def publish(self, event: events_pb2.Event) -> None:
        """Every watcher has it, or will. With a key it replaces the one before of its type and key."""
        self.journal.append(event.type, event.key, event, event.ByteSize())
        self._wake()

    def close(self) -> None:
        """Watchers get what they have not had yet, and then Stopping."""
        self._closed = True
        self._wake()

    async def watch(self, after: Position | None, is_present: IsPresent) -> AsyncGenerator[Batch, None]:
        """The first batch at once, the others as things happen, an empty one after 5 quiet seconds.

        `after` None, or of another journal: the states that `is_present` holds come first. Ends by raising Stopping;
        TooManyWatchers: no room. The caller closes it (`aclosing`).
        """
        if self._watchers_count >= self._max_watchers:
            log.warning("watcher_refused", watchers_count=self._watchers_count)
            raise TooManyWatchers(f"there are {self._watchers_count} watchers already")
        self._watchers_count += 1
        log.info("watcher_came", watchers_count=self._watchers_count)
        try:
            async with aclosing(self._batches(after, is_present)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._watchers_count -= 1
            log.info("watcher_left", watchers_count=self._watchers_count)

    async def _batches(self, after: Position | None, is_present: IsPresent) -> AsyncGenerator[Batch, None]:
        journal = self.journal
        if after is not None and after.epoch == journal.epoch and journal.holds(after):
            cursor_seq = after.seq
            answer_at_once = True
        else:
            cursor_seq = journal.head
            states = [entry.body for entry in journal.states() if is_present(entry.body)]
            yield Batch(journal.position, states)
            answer_at_once = False
        while True:
            # taken before the journal is read: an event published between reading and waiting sets this one
            changed = self._changed
            answer = journal.since(cursor_seq, max_bytes=_BATCH_BYTES)
            if answer.entries or answer_at_once:
                cursor_seq = answer.through_seq
                lost = answer.lost if isinstance(answer, Gap) else 0
                yield Batch(Position(journal.epoch, cursor_seq), [entry.body for entry in answer.entries], lost)
                answer_at_once = False
                continue
            if self._closed:
                raise Stopping("the engine is stopping")
            try:
                async with asyncio.timeout(_QUIET_S):
                    await changed.wait()
            except TimeoutError:
                answer_at_once = True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
