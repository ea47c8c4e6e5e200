"""Fans the mirror out: every client is a cursor, every batch of bytes is made once, no client can slow another.

A client's transport is written to directly and never waited for. A client whose buffer is above the mark is *behind*:
nothing more is written to it, its cursor stays, and when the buffer has drained it catches up from the journal. A
flush is synchronous within a slice of clients; what arrives meanwhile is the next batch.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Literal

import structlog

from eventlog import EVERYTHING, Gap, Position, Replay, Topics
from ws_gateway import replies
from ws_gateway.batches import Batch, Batches
from ws_gateway.behind import Behind
from ws_gateway.encode import Encoded
from ws_gateway.mirror import Mirror, View
from ws_gateway.pulse import Pulse
from ws_gateway.subscriber import Subscriber
from ws_gateway.wire import WEBSOCKET

__all__ = ["Hub"]

log = structlog.get_logger()

_SLICE = 500
"""Clients served without a pause: some 5 ms, after which handshakes, pings and requests get their turn."""
_DUTY = 0.5
"""After a flush this share of its duration is left free. A hub that flushes again at once starves the reader of the
upstream stream, which hands over one message in each turn of the loop, and never has more than one event to join."""
_NOTABLE_S = 0.001
"""A flush that took less is followed by no pause: the loop's timers are no finer."""
_AHEAD_S = 1.0
"""A client that comes from another gateway may have had events that are still on their way here: so long is waited for
them. Nobody is so much ahead but one that gives a position of its own making."""
_SETTLED_S = 1.0
"""What a client leaves behind that went sooner Python has found among its younger objects, at next to no cost."""
_SWEEP_EVENTS = 100_000
"""After so many events those who wanted none of them are moved on too: the journal counts exactly what is missing for
the last million only."""


class Hub:
    """All clients of one gateway."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        heartbeat_s: float,
        stall_s: float,
        high_water_bytes: int = 64 << 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`high_water_bytes`: a client with more than this in its buffer is behind."""
        self._mirror = mirror
        self._clock = clock
        self.heartbeat_s = heartbeat_s
        self._clients: dict[str, Subscriber] = {}
        self._by_topics: dict[Topics, dict[str, Subscriber]] = {}
        self._batches = Batches(mirror)
        self._behind = Behind(stall_s=stall_s, high_bytes=high_water_bytes, clock=clock)
        self._pulse = Pulse(
            mirror,
            heartbeat_s=heartbeat_s,
            write=self._write,
            broadcast=self._broadcast,
            vanish=self._vanish,
        )
        self._flushed: tuple[View, int] = (mirror.view, 0)
        self._swept_seq = 0
        self._dirty = asyncio.Event()
        self._moved: asyncio.Event | None = None
        self.delivered_writes = 0
        self.left_clients = 0
        """Those that had been here for a while, see `garbage`."""
        self.dropped_clients = 0
        self.vanished_clients = 0
        self.superseded_events = 0
        self.lost_events = 0
        mirror.on_change = self._dirty.set

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def behind_count(self) -> int:
        return len(self._behind)

    # --- clients

    async def reach(self, position: Position | None) -> None:
        """To be awaited before `join` resumes there: until the journal has come as far, but no longer than a moment."""
        try:
            async with asyncio.timeout(_AHEAD_S):
                while self._is_ahead(position):
                    if self._moved is None:
                        self._moved = asyncio.Event()
                    await self._moved.wait()
        except TimeoutError:
            pass

    def _is_ahead(self, position: Position | None) -> bool:
        journal = self._mirror.journal
        return position is not None and position.epoch == journal.epoch != "" and position.seq > journal.head

    def join(self, client: Subscriber, *, resume: Position | None, snapshot: bool) -> None:
        """Takes a client in: its welcome, what it missed or a snapshot, and from then on what is new."""
        journal, view = self._mirror.journal, self._mirror.view
        client.cursor = journal.head
        resumed = replies.Resume(requested=resume is not None)
        held = resume is not None and view.epoch != "" and journal.holds(resume)
        if resume is not None and held:
            client.cursor = resume.seq
            resumed = self._from(client, requested=True)
        # Of an outage the client is told after this, as those who were here when it began: that is its snapshot then.
        client.view = View(view.epoch, None) if view.outage is not None else view
        self._clients[client.client_id] = client
        client.joined = True
        client.joined_at_s = self._clock()
        self._by_topics.setdefault(client.topics, {})[client.client_id] = client
        self._pulse.add(client)
        # after a loss what is still there comes yet: whoever is cut off before that goes on from its own position
        self._welcome(client, client.cursor if resumed.lost else journal.head, resumed, "connected", "info")
        if snapshot and not resumed.recovered and view.outage is None:
            self._write_snapshot(client)
        self._deliver(client)

    def leave(self, client: Subscriber) -> None:
        """Forgets a client. Nothing is written to it any more. Calling this twice changes nothing."""
        if self._clients.pop(client.client_id, None) is None:
            return
        client.joined = False
        if self._clock() - client.joined_at_s >= _SETTLED_S:
            self.left_clients += 1
        self._ungroup(client)
        self._behind.discard(client)
        self._pulse.discard(client)

    def bring_up_to_date(self, client: Subscriber) -> None:
        """Writes what is new for a client now, unless it is behind."""
        self._deliver(client)

    def resubscribe(self, client: Subscriber, topics: Topics) -> None:
        """Changes what a client wants; it gets the latest states of what was added, even while it is behind."""
        self._deliver(client)  # what it wanted until now
        if not client.joined:
            return
        self._ungroup(client)
        before, client.topics = client.topics, topics
        self._by_topics.setdefault(topics, {})[client.client_id] = client
        if client.view.epoch != self._mirror.view.epoch:
            return  # it gets a snapshot of everything with the news of the other epoch
        self._carry_missing(client, before)
        states = [entry.body for entry in self._mirror.journal.states(topics) if not before.matches(entry.type)]
        if states:
            self._write(client, self._batches.states(states, client.wire))

    def _ungroup(self, client: Subscriber) -> None:
        same = self._by_topics[client.topics]
        del same[client.client_id]
        if not same:
            del self._by_topics[client.topics]

    # --- fan-out

    async def run(self) -> None:
        """Flushes, tends those who are behind, looks for the vanished and sends heartbeats, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flush_forever(), name="flush")
            tasks.create_task(self._tend_forever(), name="tend")
            tasks.create_task(self._pulse.watch_forever(), name="watch")
            tasks.create_task(self._pulse.beat_forever(), name="beat")

    async def _flush_forever(self) -> None:
        free_until_s = 0.0
        while True:
            await self._dirty.wait()
            began_s = self._clock()
            if began_s < free_until_s:
                await asyncio.sleep(free_until_s - began_s)
                began_s = self._clock()
            self._dirty.clear()
            if self._moved is not None:
                self._moved.set()
                self._moved = None
            await self._flush()
            ended_s = self._clock()
            spent_s = ended_s - began_s
            free_until_s = ended_s + spent_s * _DUTY if spent_s > _NOTABLE_S else 0.0

    async def _flush(self) -> None:
        clients = self._concerned()
        for first in range(0, len(clients), _SLICE):
            if first:
                await asyncio.sleep(0)
            self._flush_slice(clients[first : first + _SLICE])

    def _concerned(self) -> list[Subscriber]:
        """Those who want something of what is new, in groups that want the same. The others keep their cursors: asked
        from there, the journal has the same for them later. So an event costs nothing for those it does not go to."""
        journal, (view, head) = self._mirror.journal, self._flushed
        self._flushed = (self._mirror.view, journal.head)
        news = journal.since(head) if view is self._mirror.view else None
        if not isinstance(news, Replay) or journal.head - self._swept_seq > _SWEEP_EVENTS:
            self._swept_seq = journal.head
            return list(self._clients.values())
        types = {entry.type for entry in news.entries}
        groups = [same.values() for topics, same in self._by_topics.items() if any(map(topics.matches, types))]
        return list(itertools.chain.from_iterable(groups))

    def _flush_slice(self, clients: Sequence[Subscriber]) -> None:
        """Brings these clients up to date. Nearly all of them stand where the one before stood and want the same: for
        them `_deliver` comes down to one write, and is spelled out here: its calls cost a quarter of that write."""
        view, head, high_bytes = self._mirror.view, self._mirror.journal.head, self._behind.high_bytes
        cursor, topics, wire = head, EVERYTHING, WEBSOCKET
        data = b""
        size_bytes = 0
        writes = 0
        for client in clients:
            if client.behind or (client.cursor == head and client.view is view):
                continue
            if (
                size_bytes
                and client.cursor == cursor
                and client.topics is topics
                and client.wire is wire
                and client.view is view
                and client.missed_from_seq is None
                and client.joined
                and not client.transport.is_closing()
            ):
                client.transport.write(data)
                writes += 1
                client.cursor = head
                client.unlooked_bytes += size_bytes
                if client.unlooked_bytes >= high_bytes:
                    client.caught_up = not self._behind.has_room(client)
                continue
            cursor, topics, wire = client.cursor, client.topics, client.wire
            self._deliver(client)
            data = self._batches.whole(cursor, topics, wire)
            size_bytes = len(data)
        self.delivered_writes += writes

    def _deliver(self, client: Subscriber) -> None:
        """Brings one client up to date, as far as its buffer takes it."""
        if client.behind or not client.joined or client.transport.is_closing():
            return
        mirror = self._mirror
        view, journal = mirror.view, mirror.journal
        if client.view.epoch != view.epoch:
            self._tell_epoch(client)
        elif client.caught_up:
            self._tell_missing(client)
            client.forget_missing()
        if client.view is not view and view.outage is None:
            # whatever was marked stale and has not changed since holds again; what has changed comes next
            client.view = view
            self._write_snapshot(client, through_seq=client.cursor)
        while client not in self._behind and client.cursor < journal.head:
            batch = self._batches.after(client.cursor, client.topics, client.wire)
            self._note_missing(client, batch)
            client.cursor = batch.through_seq
            if client.missed_lost > 0:
                # before the events that come after the gap: with them the client would go past it unknowingly
                self._tell_missing(client)
            if batch.data:
                self._write(client, batch.data)
        if client in self._behind:
            client.caught_up = client.cursor == journal.head
            return
        self._tell_missing(client)
        client.forget_missing()
        if client.view is not view:
            self._tell_outage(client)

    def _write(self, client: Subscriber, data: bytes) -> bool:
        """False: the client is behind now, and nothing more may be written until it has drained."""
        client.transport.write(data)
        self.delivered_writes += 1
        client.unlooked_bytes += len(data)
        return client.unlooked_bytes < self._behind.high_bytes or self._behind.has_room(client)

    def _note_missing(self, client: Subscriber, batch: Batch) -> None:
        if batch.superseded or batch.lost:
            if client.missed_from_seq is None:
                client.missed_from_seq = client.cursor
            client.missed_superseded += batch.superseded
            client.missed_lost += batch.lost

    def _carry_missing(self, client: Subscriber, before: Topics) -> None:
        """A client that is behind wants something else from now on: what it is told later is what it missed of the old
        until now and of the new from now on."""
        journal = self._mirror.journal
        was, now = journal.since(client.cursor, before), journal.since(client.cursor, client.topics)
        client.missed_superseded += was.superseded - now.superseded
        client.missed_lost += _lost(was) - _lost(now)
        if client.missed_from_seq is None:
            client.missed_from_seq = client.cursor

    # --- what the gateway says itself

    def _welcome(
        self, client: Subscriber, seq: int, resumed: replies.Resume, text: str, level: Literal["info", "warning"]
    ) -> None:
        json = replies.welcome(
            client_id=client.client_id,
            subscriptions=client.topics.patterns,
            epoch=self._mirror.journal.epoch,
            seq=seq,
            resume=resumed,
            heartbeat_s=self.heartbeat_s,
            message=text,
            level=level,
            timestamp_s=self._mirror.now_s(),
        )
        epoch = self._mirror.journal.epoch
        position = str(Position(epoch, client.cursor)) if epoch else ""
        self._write(client, client.wire.message("notification", json, position))

    def _tell_epoch(self, client: Subscriber) -> None:
        """The bridge lost its journal: positions of the old one mean nothing, so the client begins anew.

        It was here all the time, so the log events of the new journal are news to it, from the first on. Only a client
        that came before any bridge was reached begins where a new one would, at the end.
        """
        journal, outage = self._mirror.journal, self._mirror.view.outage
        client.cursor = 0 if client.view.epoch else journal.head
        client.forget_missing()
        resumed = self._from(client)
        client.view = View(journal.epoch, None) if outage is not None else self._mirror.view
        self._welcome(client, client.cursor, resumed, "the bridge has a new journal", "warning")
        if outage is None:
            self._write_snapshot(client)

    def _from(self, client: Subscriber, *, requested: bool = False) -> replies.Resume:
        """How going on from the client's cursor will be. What this tells is not told again; more may go missing until
        the client has got it all."""
        answer = self._mirror.journal.since(client.cursor, client.topics)
        lost = _lost(answer)
        client.missed_superseded, client.missed_lost = -answer.superseded, -lost
        return replies.Resume(
            requested=requested,
            recovered=requested and not lost,
            replayed=len(answer.entries),
            superseded=answer.superseded,
            lost=lost,
        )

    def _tell_missing(self, client: Subscriber) -> None:
        superseded, lost = max(0, client.missed_superseded), max(0, client.missed_lost)
        if not superseded and not lost:
            return
        from_seq = client.missed_from_seq or 0
        client.missed_from_seq = None
        client.missed_superseded -= superseded
        client.missed_lost -= lost
        self.superseded_events += superseded
        self.lost_events += lost
        if lost:
            log.warning("client_lost_events", client_id=client.client_id, lost=lost)
        # whatever the client is subscribed to: nothing is lost silently
        json = replies.connection_error_behind(
            client_id=client.client_id,
            superseded=superseded,
            lost=lost,
            from_seq=from_seq,
            to_seq=client.cursor,
            timestamp_s=self._mirror.now_s(),
        )
        self._write(client, client.wire.message("connection_error", json))

    def _tell_outage(self, client: Subscriber) -> None:
        """The bridge went away: what the client has been shown is old from now on."""
        view = client.view = self._mirror.view
        if view.outage is not None and client.topics.matches("rpc_error"):
            json = replies.rpc_error_bridge_disconnect(view.outage.failures, view.outage.since_s, view.outage.reason)
            self._write(client, client.wire.message("rpc_error", json))
        self._write_snapshot(client)

    def _write_snapshot(self, client: Subscriber, *, through_seq: int | None = None) -> None:
        """The latest of every state that the client wants; with `through_seq`, of those unchanged since then."""
        data = self._batches.snapshot(client.topics, client.wire, through_seq=through_seq)
        if data:
            self._write(client, data)

    # --- those who are behind or gone, and what all are told

    async def _tend_forever(self) -> None:
        """Lets those who have drained catch up, and drops those who did not."""
        while True:
            await self._behind.wait()
            dropped = []
            for client, has_drained in self._behind.look():
                if has_drained:
                    self._deliver(client)
                else:
                    self._drop(client)
                    dropped.append(client)
            for client in dropped:
                json = replies.connection_error_dropped(client.client_id, self._mirror.now_s())
                await self._broadcast("connection_error", json, list(self._clients.values()))

    def _drop(self, client: Subscriber) -> None:
        stall_s = self._behind.stall_s
        log.warning("client_dropped", client_id=client.client_id, address=client.address, stall_s=stall_s)
        self.leave(client)
        self.dropped_clients += 1
        client.evict()

    def _vanish(self, client: Subscriber) -> None:
        self.leave(client)
        self.vanished_clients += 1
        client.transport.abort()

    async def _broadcast(self, type: str, json: bytes, clients: Sequence[Subscriber]) -> None:
        """A message of the gateway's own to all who want it and are not behind: it is told now or not at all."""
        framed: dict[int, bytes] = {}
        for index, client in enumerate(clients):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if client.behind or not client.joined or client.transport.is_closing():
                continue
            if not client.topics.matches(type):
                continue
            data = framed.get(id(client.wire))
            if data is None:
                data = framed[id(client.wire)] = client.wire.message(type, json)
            self._write(client, data)


def _lost(answer: Replay[Encoded] | Gap[Encoded]) -> int:
    return answer.lost if isinstance(answer, Gap) else 0
