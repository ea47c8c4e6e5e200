"""The journal as the bridge's parts share it: publishing is synchronous, readers wait for what comes next."""

import asyncio
import time
from collections.abc import Callable, Iterable

from engine_events.v1 import events_pb2

from engine_bridge.timestamps import timestamp
from eventlog import Journal

__all__ = ["Feed"]


class Feed:
    """One journal, its writers and its readers, on one event loop."""

    def __init__(self, journal: Journal[events_pb2.Event], *, wall_clock: Callable[[], float] = time.time) -> None:
        self.journal = journal
        self._wall_clock = wall_clock
        self._changed = asyncio.Event()

    def publish(self, events: Iterable[events_pb2.Event]) -> None:
        """Numbers the events and puts them into the journal. No await between the first and the last: a reader sees all
        of them or none."""
        published_at = timestamp(self._wall_clock())
        for event in events:
            event.seq = self.journal.head + 1
            event.published_at.CopyFrom(published_at)
            self.journal.append(event.type, event.key, event, event.ByteSize())
        # waiters hold the old event; whoever waits from now on waits for the next change
        self._changed.set()
        self._changed = asyncio.Event()

    def now_s(self) -> float:
        """Unix seconds, for time stamps only."""
        return self._wall_clock()

    async def beyond(self, seq: int, timeout_s: float) -> None:
        """Returns when the journal holds something after `seq`, or after `timeout_s`."""
        if self.journal.head > seq:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass
