"""Everybody is cut off at once and comes back at once; or many were away for a while, a slow one among them."""

import asyncio
import time

import pytest

from tests.end_to_end.conftest import Connect, resume
from tests.faults.conftest import LONG
from tests.faults.pulse import BULK, Pulse, number, state_key
from tests.faults.stalled import wait_counted
from tests.faults.wires import plain
from tests.kit.client import Recorder, with_query
from tests.kit.history import Position, check
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.rawclient import RawClient
from tests.kit.scripted_engine import ScriptedEngine

STORM = 200
AWAY = 20
SLOW_BYTES_PER_S = 60_000


async def wait_all(clients: list[Recorder], count: int) -> None:
    """Waits until all of them have had the notification of that number."""
    await asyncio.gather(*(client.wait_for(number(count), within_s=10) for client in clients))


async def test_200_clients_cut_off_at_once_are_back_at_once(connect: Connect, measurements: Measurements) -> None:
    """Each with its position, each with every event; the engine is not asked anything for it."""
    fault, injected_by = f"{STORM} clients reconnect at once", "all close, all connect with epoch and seq"
    # polls so far apart that none falls into the storm: every call that comes is one too many
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=300) as stack:
        watcher = await connect(stack.ws_url(), types=["*"])
        clients = list(await asyncio.gather(*(connect(stack.ws_url(), types=["*"]) for _ in range(STORM))))
        async with Pulse(engine) as pulse:
            await wait_all(clients, 5)
            calls = engine.calls.copy()
            started_s = time.monotonic()
            told = await asyncio.gather(*(resume(client) for client in clients))
            back_s = time.monotonic() - started_s
            extra = engine.calls - calls
        await wait_all([watcher, *clients], len(pulse.labels))
        measurements.assert_kept(fault=fault, injected_by=injected_by, promise="all resumed", limit=3, measured=back_s)
        measurements.assert_kept(
            fault=fault,
            injected_by=injected_by,
            promise="the engine sees no extra call",
            limit=0,
            measured=extra.total(),
            unit="calls",
        )
        assert all((answer["recovered"], answer["lost"]) == (True, 0) for answer in told)
        for client in clients:
            assert (
                check(client.history, reference=watcher.history, until=watcher.position, published=pulse.labels) == []
            )


@pytest.mark.parametrize("away_s", [1, 60 if LONG else 3])
async def test_clients_that_were_away_get_every_log_event_and_the_latest_states(
    connect: Connect, measurements: Measurements, away_s: float
) -> None:
    """Twenty fast ones, and one that reads so slowly that it falls behind again before it has caught up."""
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url) as stack,
        Pulse(engine, every_s=0.02, log_every=5, fill_bytes=4_000) as pulse,
    ):
        watcher = await connect(stack.ws_url(), types=["*"])
        clients = [await connect(stack.ws_url(), types=["*"]) for _ in range(AWAY)]
        await asyncio.gather(*(client.wait_for(BULK) for client in clients))
        await asyncio.gather(*(client.close() for client in clients))
        start = clients[0].position
        assert start is not None
        await asyncio.sleep(away_s)
        began_s = time.monotonic()
        slow = await RawClient.open(
            with_query(stack.ws_url(), types=["*"], epoch=start.epoch, seq=start.seq), receive_buffer_bytes=4096
        )
        try:
            slow.start_reading(SLOW_BYTES_PER_S)
            told = await asyncio.gather(*(resume(client) for client in clients))
            await wait_all(clients, len(pulse.labels))
            caught_up_s = time.monotonic() - began_s
            await asyncio.sleep(5)  # the slow one falls behind
            await pulse.stop()
            await wait_all([watcher, *clients], len(pulse.labels))
            last = await watcher.wait_for(number(len(pulse.labels)))
            until = Position(start.epoch, last.message["seq"])
            await wait_counted(plain(), stack, 60, behind=0)
            # all it is owed has been written to it, what it is told of the rest too; so when it has anything newer …
            newest = watcher.position
            assert newest is not None
            await slow.wait_for(lambda message: message.get("seq", 0) > newest.seq, within_s=30)
        finally:
            await slow.close()
        measurements.assert_kept(
            fault=f"resume after {away_s} s away",
            injected_by=f"{AWAY} clients reconnect with epoch and seq, one more reads {SLOW_BYTES_PER_S / 1000:g} KB/s",
            promise="every missed log event once, in order, latest states; the fast ones have it all",
            limit=2,
            measured=caught_up_s,
        )
        assert all((answer["recovered"], answer["lost"]) == (True, 0) for answer in told)
        assert all(answer["superseded"] > 0 for answer in told)
        for client in clients:
            assert check(client.history, reference=watcher.history, until=until, key_of=state_key) == []
        assert {error["data"]["error_code"] for error in slow.of_type("connection_error")} == {"EVENTS_SUPERSEDED"}
        assert check(slow.history, reference=watcher.history, start=start, until=until, key_of=state_key) == []
