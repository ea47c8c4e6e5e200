"""Which events to publish when a source answered, and which when it did not. Pure: the journal is the only state.

A source answers for the states that it has brought. When it answers they are fresh; when it fails they are published
again, marked stale, with the time at which they were last known to be right.
"""

from collections.abc import Iterable

from engine_events.v1 import events_pb2

from engine_bridge.timestamps import timestamp
from eventlog import Journal

__all__ = ["CURRENT", "QUEUE", "Holdings", "is_final"]

CURRENT = "current"
"""The key of a type that has one state."""
QUEUE = "queue"
"""The key of the compression queue."""

_FINAL = frozenset((events_pb2.JOB_STATUS_COMPLETED, events_pb2.JOB_STATUS_FAILED, events_pb2.JOB_STATUS_CANCELLED))


def is_final(event: events_pb2.Event) -> bool:
    """Whether the event is the end of a compression job: a truth that does not age."""
    return event.HasField("compression_job") and event.compression_job.status in _FINAL


class Holdings:
    """The states that one source answers for."""

    def __init__(self, journal: Journal[events_pb2.Event]) -> None:
        self._journal = journal
        self._keys: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def take(self, event: events_pb2.Event) -> events_pb2.Event:
        """A pushed state, now this source's to answer for: the event to publish."""
        self._keys.add((event.type, event.key))
        return _fresh(event)

    def answered(
        self, listing: Iterable[events_pb2.Event], *, asked_at_seq: int, last_update_s: float
    ) -> list[events_pb2.Event]:
        """What to publish after an answer that lists every state of the source.

        `asked_at_seq`: the journal's head when the question was asked. A state that was pushed since is newer than the
        answer, whichever arrives first, and stays. `last_update_s`: when the source answered before this; 0: never.
        """
        publish, gone = [], []
        listed = set()
        for event in listing:
            name = (event.type, event.key)
            listed.add(name)
            self._keys.add(name)
            entry = self._journal.state(*name)
            if entry is not None and not entry.body.freshness.stale:
                if entry.seq > asked_at_seq:
                    continue
                if event.key not in (CURRENT, QUEUE) and _same(entry.body, event):
                    continue
            publish.append(_fresh(event))
        for name in sorted(self._keys - listed):
            entry = self._journal.state(*name)
            if entry is None:
                self._keys.discard(name)
            elif is_final(entry.body):
                if entry.body.freshness.stale:
                    publish.append(_fresh(entry.body))
            elif entry.seq <= asked_at_seq and not entry.body.freshness.stale:
                # The engine no longer lists it and never said how it ended: what is known of it is old.
                gone.append(_stale(entry.body, "RPC_DISCONNECT", last_update_s))
        return gone + publish  # the queue comes after what it no longer lists

    def unanswered(self, error_code: str, *, last_update_s: float) -> list[events_pb2.Event]:
        """What to publish when the source failed, or was not asked. The one state of a type and the queue come again
        each time, the others when their mark changes. `last_update_s`: when the source last answered; 0: never."""
        publish = []
        for name in sorted(self._keys):
            entry = self._journal.state(*name)
            if entry is None:
                self._keys.discard(name)
                continue
            freshness = entry.body.freshness
            if name[1] in (CURRENT, QUEUE) or not freshness.stale or freshness.error_code != error_code:
                publish.append(_stale(entry.body, error_code, last_update_s))
        return publish

    def confirmed(self) -> list[events_pb2.Event]:
        """What to publish when the engine has said that nothing changed: every stale state, fresh again."""
        entries = (self._journal.state(*name) for name in sorted(self._keys))
        return [_fresh(entry.body) for entry in entries if entry is not None and entry.body.freshness.stale]


def _same(one: events_pb2.Event, other: events_pb2.Event) -> bool:
    """Whether two jobs say the same, apart from when it was said."""
    if not (one.HasField("compression_job") and other.HasField("compression_job")):
        return False
    first, second = events_pb2.CompressionJob(), events_pb2.CompressionJob()
    first.CopyFrom(one.compression_job)
    second.CopyFrom(other.compression_job)
    first.timestamp = second.timestamp = 0
    return first == second


def _fresh(event: events_pb2.Event) -> events_pb2.Event:
    copy = events_pb2.Event()
    copy.CopyFrom(event)
    copy.freshness.CopyFrom(events_pb2.Freshness())
    return copy


def _stale(event: events_pb2.Event, error_code: str, last_update_s: float) -> events_pb2.Event:
    copy = events_pb2.Event()
    copy.CopyFrom(event)
    copy.freshness.stale = True
    copy.freshness.error_code = error_code
    if not event.freshness.stale:
        # a state that was pushed after the last answer was right when it was pushed
        published_s = event.published_at.seconds + event.published_at.nanos / 1e9
        copy.freshness.last_update.CopyFrom(timestamp(max(last_update_s, published_s)))
    return copy
