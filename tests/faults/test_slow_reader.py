"""One client reads a kilobyte a second among others that read at once, with an event every 50 ms."""

import asyncio

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.pulse import BULK, Pulse, number, percentile, state_key
from tests.faults.stalled import wait_counted
from tests.faults.wires import Wire
from tests.kit.history import Position, check, told_superseded
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.rawclient import RawClient
from tests.kit.scripted_engine import ScriptedEngine

FAST = 3
BYTES_PER_S = 1000
STALL_S = 30.0 if LONG else 4.0
SLOW_FOR_S = 2 * STALL_S
WINDOW_BYTES = 2048
"""The receive buffer of the slow client (the kernel doubles it), for the kernel tells the sender of new room only when
it is half of the buffer or a whole segment. Over loopback a segment is 64 KiB: with a buffer of the usual size a minute
would pass in which the client reads and its kernel keeps it to itself."""
NOISE_S = 0.025


@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_slow_reader_gets_the_latest_states_and_every_log_event(
    wire: Wire, connect: Connect, measurements: Measurements
) -> None:
    """It is told how many states it did not get, is not cut however long it takes, and nobody else notices."""
    fault = f"a slow reader ({wire.name}) among fast ones, an event every 50 ms"
    injected_by = f"socket read at {BYTES_PER_S / 1000:g} KB/s"
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, stall_s=STALL_S, gateway_settings=wire.settings, wait_ready=False) as stack,
        Pulse(engine, every_s=0.05, log_every=2, fill_bytes=12_000) as pulse,
    ):
        fast = [await connect(wire.ws_url(stack), types=["*"], tls=wire.tls) for _ in range(FAST)]
        await fast[0].wait_for("system.status", within_s=10)
        start = pulse.mark()
        await asyncio.sleep(2.5)
        calm = pulse.mark()
        slow = await RawClient.open(f"{wire.ws_url(stack)}?types=*", receive_buffer_bytes=WINDOW_BYTES, tls=wire.tls)
        try:
            slow.start_reading(BYTES_PER_S)
            await wait_counted(wire, stack, 20, behind=1)
            read_bytes = slow.bytes_read
            await asyncio.sleep(SLOW_FOR_S)
            counts = await wire.clients(stack)
            assert 0.5 < (slow.bytes_read - read_bytes) / SLOW_FOR_S / BYTES_PER_S < 1.5
            noisy = pulse.mark()
            await slow.stop_reading()
            slow.start_reading()
            await slow.wait_for(lambda message: message["data"].get("reason") == "behind", within_s=20)
            await wait_counted(wire, stack, 5, behind=0)
            await pulse.stop()
            last = await fast[0].wait_for(number(len(pulse.labels)))
            position = fast[0].position
            assert position is not None
            until = Position(position.epoch, last.message["seq"])
            await slow.wait_for(number(len(pulse.labels)))
            await slow.wait_for(lambda message: message["data"].get("value") == pulse.values)
        finally:
            await slow.close()
        measurements.assert_kept(
            fault=fault,
            injected_by=injected_by,
            promise="it is not cut",
            limit=0,
            measured=counts["dropped"],
            unit="cut",
        )
        assert counts["behind"] == 1
        violations = check(slow.history, reference=fast[0].history, until=until, key_of=state_key)
        measurements.assert_kept(
            fault=fault,
            injected_by=injected_by,
            promise="it gets the latest states and every log event, and is told how many were superseded",
            limit=0,
            measured=len(violations),
            unit="violations",
        )
        assert told_superseded(slow.history) > SLOW_FOR_S * 5, "10 new values of the large state a second"
        assert len(slow.of_type(BULK)) < len(fast[0].of_type(BULK))
        before = [late for client in fast for late in pulse.latencies_s(client.history, since=start, until=calm)]
        during = [late for client in fast for late in pulse.latencies_s(client.history, since=calm, until=noisy)]
        measurements.assert_kept(
            fault=fault,
            injected_by=injected_by,
            promise=f"fast clients' p95 as before (but for {NOISE_S * 1000:g} ms of noise)",
            limit=2.0,
            measured=percentile(during, 0.95) / max(percentile(before, 0.95), NOISE_S),
            unit="times",
        )
        for client in fast:
            assert client.of_type("connection_error") == []
            assert check(client.history, reference=fast[0].history, until=until, key_of=state_key) == []
