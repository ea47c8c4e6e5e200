"""The bridge's journal as the gateway has it, encoded, and whether the bridge is there.

No I/O: upstream writes, the hub reads.

The view tells what clients are to be shown. It is replaced, never changed, so a client that was told of one view is
told again exactly when it differs from the present one.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import structlog
from engine_events.v1 import events_pb2

from eventlog import Journal, Position
from ws_gateway.encode import Encoded, encode
from ws_gateway.errors import EventRefusedError
from ws_gateway.translate import Translator

__all__ = ["Mirror", "Outage", "Reason", "View"]

log = structlog.get_logger()

Reason: TypeAlias = Literal["rpc_disconnect", "rpc_timeout", "rpc_failed"]
"""How the stream from the bridge broke."""

_QUEUE = ("compression.update", "queue")
"""The state that lists every job that the engine knows."""


@dataclass(frozen=True, slots=True, eq=False)
class Outage:
    """The bridge is away."""

    since_s: float
    """Unix seconds."""
    failures: int
    reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What clients are shown."""

    epoch: str
    """Empty: no bridge has been reached yet."""
    outage: Outage | None
    """None: the bridge is there, and what it last said holds."""


class Mirror:
    """A copy of the bridge's journal that outlives the connection to it."""

    def __init__(
        self,
        *,
        max_log_events: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._max_log_events = max_log_events
        self._max_bytes = max_bytes
        self._clock = clock
        self._wall_clock = wall_clock
        self._translator = Translator()
        self._fresh_at_s: OrderedDict[str, float] = OrderedDict()
        self.journal: Journal[Encoded] = self._new_journal("")
        self._copying: Journal[Encoded] | None = None
        self.view = View("", None)
        self.refused = 0
        self.on_change: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        return self.view.outage is None and self.view.epoch != ""

    @property
    def position(self) -> Position:
        """From where to resume upstream."""
        return self.journal.position

    @property
    def unknown_enum_count(self) -> int:
        return self._translator.unknown_enum_count

    @property
    def _target(self) -> Journal[Encoded]:
        """Where events from the bridge go. (An empty journal is false, so `or` would not do.)"""
        return self.journal if self._copying is None else self._copying

    def now_s(self) -> float:
        """Unix seconds, for time stamps only."""
        return self._wall_clock()

    def begin(self, epoch: str) -> None:
        """The bridge has another journal: it is copied from its start, and shown when the copy is complete."""
        self._copying = self._new_journal(epoch)

    def take(self, event: events_pb2.Event) -> None:
        """Encodes an event, once for all clients, and adds it. One that cannot be sent is counted as lost."""
        journal = self._target
        if event.seq <= journal.head:
            log.error("event_out_of_order", seq=event.seq, head=journal.head)
            return
        try:
            encoded = encode(event, self._translator)
        except EventRefusedError as error:
            self.refused += 1
            log.warning("event_refused", seq=event.seq, reason=str(error))
            journal.lose(event.seq - 1, event.seq, 1)
            journal.skip(event.seq)
            return
        journal.append(event.type, event.key, encoded, encoded.size_bytes, seq=event.seq)
        if event.key:
            self._note_freshness(event, journal.max_states)

    def lose(self, after_seq: int, to_seq: int, lost: int) -> None:
        """The bridge no longer has these log events."""
        log.warning("upstream_gap", after_seq=after_seq, to_seq=to_seq, lost=lost)
        (self._target).lose(after_seq, to_seq, lost)

    def complete(self, seq: int) -> None:
        """Everything up to `seq` has been copied: clients are shown it, and the bridge is there."""
        journal = self._target
        journal.skip(seq)
        if self._copying is not None:
            log.info("epoch_changed", epoch=journal.epoch, seq=journal.head, before=self.journal.epoch)
            self.journal, self._copying = journal, None
            self.view = View(journal.epoch, None)
        elif self.view.outage is not None:
            self.view = View(journal.epoch, None)
        self.on_change()

    def bridge_lost(self, failures: int, reason: Reason) -> None:
        """The stream broke: what is shown is old from now on."""
        self._copying = None
        if self.view.outage is None:
            self.view = View(self.view.epoch, Outage(self._wall_clock(), failures, reason))
            self.on_change()

    def ages_s(self) -> dict[str, float]:
        """By state topic, seconds since it was last known to be fresh."""
        now_s = self._clock()
        return {topic: round(max(0.0, now_s - at_s), 3) for topic, at_s in sorted(self._fresh_at_s.items())}

    def stale_topics(self) -> list[str]:
        """State topics of which something is stale, sorted. A job that is stale while a fresh queue has come after it
        does not count: the engine has forgotten how it ended, so it stays stale for good."""
        states = self.journal.states()
        if self.view.outage is not None:
            return sorted({entry.type for entry in states})
        queue = self.journal.state(*_QUEUE)
        listed = {} if queue is None or queue.body.stale else {queue.type: queue.seq}
        return sorted({entry.type for entry in states if entry.body.stale and entry.seq > listed.get(entry.type, 0)})

    def _note_freshness(self, event: events_pb2.Event, max_topics: int) -> None:
        """When the event's topic was last fresh; the topics that were so longest ago are forgotten first."""
        if event.freshness.stale:
            last_s = event.freshness.last_update.seconds + event.freshness.last_update.nanos / 1e9
            self._fresh_at_s.setdefault(event.type, self._clock() - max(0.0, self._wall_clock() - last_s))
        else:
            self._fresh_at_s[event.type] = self._clock()
            self._fresh_at_s.move_to_end(event.type)
        if len(self._fresh_at_s) > max_topics:
            self._fresh_at_s.popitem(last=False)

    def _new_journal(self, epoch: str) -> Journal[Encoded]:
        return Journal(epoch, max_log_events=self._max_log_events, max_bytes=self._max_bytes)
