"""Bytes that many clients need: made once for one head of the journal and one view, and shared until either moves.

Owns what is joined with what. Never writes to a client.
"""

from collections.abc import Iterable

from eventlog import Gap, Topics
from ws_gateway.encode import Encoded
from ws_gateway.mirror import Mirror, View
from ws_gateway.wire import Wire

__all__ = ["Batch", "Batches"]

_MAX_WRITE_BYTES = 128 << 10
"""One write's worth of the journal for a client that catches up."""


class Batch:
    """For every client that stands at the same cursor with the same topics."""

    __slots__ = ("data", "lost", "superseded", "through_seq")

    def __init__(self, data: bytes, through_seq: int, superseded: int, lost: int) -> None:
        self.data = data
        self.through_seq = through_seq
        """Where a client stands that has got it."""
        self.superseded = superseded
        self.lost = lost


class Batches:
    """What has been made of one mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._batches: dict[tuple[int, Topics, int], Batch] = {}
        self._snapshots: dict[tuple[int | None, Topics, int], bytes] = {}
        self._made_of: tuple[View, int] = (mirror.view, 0)

    def after(self, cursor: int, topics: Topics, wire: Wire) -> Batch:
        """What comes after `cursor`, as much as goes into one write."""
        self._renew()
        key = (cursor, topics, id(wire))
        batch = self._batches.get(key)
        if batch is None:
            journal = self._mirror.journal
            answer = journal.since(cursor, topics, max_bytes=_MAX_WRITE_BYTES)
            data = b"".join([wire.live(entry.body, journal.epoch) for entry in answer.entries])
            lost = answer.lost if isinstance(answer, Gap) else 0
            batch = self._batches[key] = Batch(data, answer.through_seq, answer.superseded, lost)
        return batch

    def whole(self, cursor: int, topics: Topics, wire: Wire) -> bytes:
        """The bytes after `cursor`, if they have been made, lead up to the head, and nothing is missing from them.
        Otherwise none: these clients need more than a write."""
        batch = self._batches.get((cursor, topics, id(wire)))
        if batch is None or batch.superseded or batch.lost or batch.through_seq != self._mirror.journal.head:
            return b""
        return batch.data

    def snapshot(self, topics: Topics, wire: Wire, *, through_seq: int | None = None) -> bytes:
        """The latest of every state in `topics`; with `through_seq`, of those unchanged since then."""
        self._renew()
        key = (through_seq, topics, id(wire))
        data = self._snapshots.get(key)
        if data is None:
            states = self._mirror.journal.states(topics)
            wanted = [entry.body for entry in states if through_seq is None or entry.seq <= through_seq]
            data = self._snapshots[key] = self.states(wanted, wire)
        return data

    def states(self, states: Iterable[Encoded], wire: Wire) -> bytes:
        """These as they are now: as a snapshot, or marked stale while the bridge is away. Not kept."""
        if self._mirror.view.outage is None:
            epoch = self._mirror.journal.epoch
            return b"".join([wire.snapshot(state, epoch) for state in states])
        now_s = self._mirror.now_s()
        return b"".join([wire.stale(state, now_s) for state in states])

    def _renew(self) -> None:
        now = (self._mirror.view, self._mirror.journal.head)
        if self._made_of != now:
            self._made_of = now
            self._batches.clear()
            self._snapshots.clear()
