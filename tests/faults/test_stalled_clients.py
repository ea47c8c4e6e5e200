"""Clients that stop reading, some of them still sending: nobody else notices, and they are cut in time."""

import asyncio

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.pulse import Pulse, number, percentile
from tests.faults.stalled import Staller, wait_counted
from tests.faults.wires import Wire
from tests.kit.history import Position, check
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until as wait_until

STALL_S = 30.0 if LONG else 3.0
HEALTHY, STALLED = 5, 10
NOISE_S = 0.025
"""What differs less than this from one second to the next differs for reasons of its own, on a machine of two cores."""
FILL_BYTES = 8_000


@pytest.mark.alone
async def test_ten_clients_stop_reading_and_nobody_else_notices(
    wire: Wire, connect: Connect, measurements: Measurements
) -> None:
    """Four go on sending, two are event streams. All are cut in time, the others are told, nothing stays."""
    fault = f"{STALLED} clients stop reading ({wire.name}), some still sending"
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, stall_s=STALL_S, gateway_settings=wire.settings, wait_ready=False) as stack,
        Pulse(engine, every_s=0.01, log_every=2, fill_bytes=FILL_BYTES) as pulse,
    ):
        healthy = [await connect(wire.ws_url(stack), types=["*"], tls=wire.tls) for _ in range(HEALTHY)]
        await healthy[-1].wait_for("system.status", within_s=10)
        start = pulse.mark()
        await asyncio.sleep(3)  # how things are without the fault
        quiet, descriptors, rss = pulse.mark(), stack.gateway.descriptor_count(), stack.gateway.rss_bytes()
        stalled = [await Staller.connect(wire, stack, place) for place in range(STALLED)]
        try:
            behind_s = await wait_counted(wire, stack, 20, behind=STALLED)
            rss_at_most = stack.gateway.rss_bytes()
            dropping = asyncio.create_task(wait_counted(wire, stack, STALL_S + 20, dropped=STALLED))
            while not dropping.done():
                rss_at_most = max(rss_at_most, stack.gateway.rss_bytes())
                await asyncio.wait([dropping], timeout=0.1)
            dropped_s = await dropping
            noisy = pulse.mark()
            await wait_counted(wire, stack, 2, connected=HEALTHY)
            await wait_until(
                lambda: stack.gateway.descriptor_count() <= descriptors, within_s=3, what="no descriptor is left"
            )
        finally:
            for staller in stalled:
                await staller.close()
        await pulse.stop()
        came = await asyncio.gather(*(client.wait_for(number(len(pulse.labels))) for client in healthy))
        position = healthy[0].position
        assert position is not None
        until = Position(position.epoch, came[0].message["seq"])

        before = [late for client in healthy for late in pulse.latencies_s(client.history, since=start, until=quiet)]
        during = [late for client in healthy for late in pulse.latencies_s(client.history, since=quiet, until=noisy)]
        by = "raw sockets with small buffers that nobody reads"
        measurements.assert_kept(
            fault=fault,
            injected_by=by,
            promise=f"healthy clients' p99 as before (but for {NOISE_S * 1000:g} ms of noise)",
            limit=2.0,
            measured=percentile(during, 0.99) / max(percentile(before, 0.99), NOISE_S),
            unit="times",
        )
        measurements.assert_kept(
            fault=fault,
            injected_by=by,
            promise="memory bounded: the gateway grows no more than a megabyte for each of them",
            limit=STALLED,
            measured=(rss_at_most - rss) / 1e6,
            unit="MB",
        )
        measurements.assert_kept(
            fault=fault,
            injected_by=by,
            promise=f"cut when they have read nothing for the stall time ({STALL_S:g} s)",
            limit=STALL_S + 1.5,
            measured=dropped_s - behind_s,
        )
        for client in healthy:
            assert client.closed is None
            told = [error["data"] for error in client.of_type("connection_error")]
            names = [error["client_id"] for error in told if error["reason"] == "buffer_full"]
            assert {error["error_code"] for error in told if error["reason"] == "buffer_full"} == {"CONNECTION_DROP"}
            assert len(set(names)) == len(names) == STALLED
            assert {staller.client_id for staller in stalled if staller.client_id} <= set(names)
            assert check(client.history, reference=healthy[0].history, until=until) == []
