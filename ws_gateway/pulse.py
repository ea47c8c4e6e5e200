"""What goes to clients when nothing happens: pings and heartbeats; and who does not answer, not even by its kernel.

Owns whose turn it is. Never touches the journal's events.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from ws_gateway import replies
from ws_gateway.kernel import acknowledged
from ws_gateway.mirror import Mirror
from ws_gateway.subscriber import Subscriber

__all__ = ["Pulse"]

log = structlog.get_logger()

_WATCH_S = 5.0
"""How often each client is looked at for whether its end is still there."""
_UNANSWERED_LOOKS = 4
"""So often in a row there was no answer: the client has vanished. Looks, not seconds, so that a loop that stood still
vanishes nobody."""
_LATELY = 0.1
"""Of the heartbeat time: whose kernel has answered something within this needs no ping. With events all the time none
is sent at all; a ping with its answer costs as much as ten of them."""
_WATCH_SLICE = 500
"""Clients looked at without a pause."""


class Pulse:
    """That of one hub."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        heartbeat_s: float,
        write: Callable[[Subscriber, bytes], object],
        broadcast: Callable[[str, bytes, Sequence[Subscriber]], Awaitable[None]],
        vanish: Callable[[Subscriber], None],
    ) -> None:
        """Each client gets a heartbeat every `heartbeat_s`. `write`: to one that is not behind; `broadcast`: a message
        of this type to those who want it; `vanish`: its end is no more."""
        self._mirror = mirror
        self._heartbeat_s = heartbeat_s
        self._write = write
        self._broadcast = broadcast
        self._vanish = vanish
        # Clients take turns, so that no moment has all of them: one slot of the wheel each tick, two turns of the wheel
        # per heartbeat time, a ping (for those who are silent) and a heartbeat in alternation.
        self._wheel: list[set[Subscriber]] = [set() for _ in range(max(1, round(heartbeat_s * 2)))]
        self._turns = itertools.count()

    def add(self, client: Subscriber) -> None:
        self._wheel[next(self._turns) % len(self._wheel)].add(client)

    def discard(self, client: Subscriber) -> None:
        for slot in self._wheel:
            slot.discard(client)

    async def beat_forever(self) -> None:
        """One slot of the wheel at a time. Each client has a ping and, half the heartbeat time later, a heartbeat (or
        another ping, if it does not want that): whoever vanished is noticed only when something is sent. So there is
        no ping for those who have just answered something else."""
        pause_s = self._heartbeat_s / len(self._wheel) / 2
        for tick in itertools.count():
            await asyncio.sleep(pause_s)
            slot = list(self._wheel[tick % len(self._wheel)])
            if (tick // len(self._wheel)) % 2:
                await self._beat(slot)
                self._ping([client for client in slot if not client.topics.matches("heartbeat")])
            else:
                self._ping(slot)

    async def watch_forever(self) -> None:
        """Gives up those whose end is no more: what is sent to them is not answered, not even by their kernel."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for index, client in enumerate([client for slot in self._wheel for client in slot]):
                if index % _WATCH_SLICE == _WATCH_SLICE - 1:
                    await asyncio.sleep(0)
                heard = acknowledged(client.transport)
                if heard is None or not heard.unanswered or heard.silent_s < _WATCH_S:
                    client.unanswered_looks = 0
                    continue
                client.unanswered_looks += 1
                if client.unanswered_looks >= _UNANSWERED_LOOKS and client.joined:
                    log.info("client_vanished", client_id=client.client_id, silent_s=round(heard.silent_s, 1))
                    self._vanish(client)

    def _ping(self, clients: Collection[Subscriber]) -> None:
        for client in clients:
            if not client.joined or client.behind or client.transport.is_closing():
                continue
            heard = acknowledged(client.transport)
            if heard is None or heard.silent_s >= self._heartbeat_s * _LATELY:
                self._write(client, client.wire.ping)

    async def _beat(self, clients: Sequence[Subscriber]) -> None:
        mirror = self._mirror
        json = replies.heartbeat(
            server_time_s=mirror.now_s(),
            epoch=mirror.journal.epoch,
            seq=mirror.journal.head,
            bridge_connected=mirror.connected,
            freshness_s=mirror.ages_s(),
        )
        await self._broadcast("heartbeat", json, clients)
