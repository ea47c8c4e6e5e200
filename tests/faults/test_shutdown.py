"""SIGTERM while some clients do not read: they do not hold up the end, and the others are told when to come back."""

import asyncio
import re

from tests.end_to_end.conftest import Connect
from tests.faults.pulse import Pulse
from tests.faults.stalled import Staller, wait_counted
from tests.faults.wires import Wire
from tests.kit.client import SseRecorder
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

HEALTHY, STALLED, TALKING, STREAMS = 10, 10, 4, 2


async def test_stalled_clients_do_not_hold_up_the_end(wire: Wire, connect: Connect, measurements: Measurements) -> None:
    """Exit 0 in time; each of the others has its close frame, with a time of its own."""
    fault = f"SIGTERM with stalled clients ({wire.name})"
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, gateway_settings=wire.settings, wait_ready=False) as stack,
        Pulse(engine, every_s=0.02, log_every=2, fill_bytes=16_000),
    ):
        healthy = [await connect(wire.ws_url(stack), types=["*"], tls=wire.tls) for _ in range(HEALTHY)]
        stalled = [await Staller.connect(wire, stack, number) for number in range(STALLED)]
        streams = [] if wire.tls else [await SseRecorder.connect(stack.http_url("/api/v1/events"))]
        try:
            await wait_counted(wire, stack, 20, behind=STALLED)
            end = await stack.gateway.terminate()
            assert end.status == 0
            measurements.assert_kept(
                fault=fault, injected_by="SIGTERM", promise="exit 0", limit=5, measured=end.seconds
            )
            closes = [await client.wait_closed() for client in healthy]
            for stream in streams:
                assert (await stream.wait_closed()).code == 1000, "as HTTP has it"
        finally:
            await asyncio.gather(*(staller.close() for staller in stalled), *(stream.close() for stream in streams))
        waits = [re.fullmatch(r"retry_after_ms=(\d+)", closed.reason) for closed in closes]
        measurements.assert_kept(
            fault=fault,
            injected_by="SIGTERM",
            promise="the others get 1012 with `retry_after_ms`",
            limit=0,
            measured=sum(closed.code != 1012 or wait is None for closed, wait in zip(closes, waits, strict=True)),
            unit="that did not",
        )
        assert len({wait[1] for wait in waits if wait is not None}) == HEALTHY, "spread over time"
