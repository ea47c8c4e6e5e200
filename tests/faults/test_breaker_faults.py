"""A breaker that is half open under many callers, and whose trial is cancelled.

The parts are the real ones, over a real connection; only the callers are the test's.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.feed import Feed
from engine_bridge.guard import State
from engine_bridge.poller import poll
from engine_bridge.source import BreakerSettings, Source
from eventlog import Journal
from tests.end_to_end.conftest import Connect
from tests.faults.scene import Fault, arrived, fresh
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until

METHOD, TOPIC = "GetSystemStatus", "system.status"
CALLERS = 50


class Bench:
    """One source of a scripted engine, and callers that ask through it."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.source = Source(
            TOPIC,
            "SYSTEM_STATUS_FAILED",
            Feed(Journal("bench", max_log_events=1000, max_bytes=1 << 20)),
            BreakerSettings(failures=5, reset_s=0.2, reset_max_s=1),
        )
        self._adapter = GrpcEngine(engine.address)

    async def caller(self, interval_s: float = 60) -> None:
        """Asks at once, and then so often, until cancelled."""
        await poll(self.source, self._adapter, interval_s=interval_s, phase=0, call_timeout_s=5)

    async def open_breaker(self) -> None:
        """Lets the method fail until the breaker is open, and then hang, until a trial would be admitted."""
        self.engine.fail(METHOD)
        failing = asyncio.create_task(self.caller(0.01), name="failing caller")
        await until(lambda: self.source.guard.state is State.OPEN, within_s=5, what="the breaker opens")
        failing.cancel()
        await asyncio.wait([failing])
        self.engine.hang(METHOD)
        await until(lambda: self.source.guard.retry_after_s == 0, within_s=5, what="the breaker has waited")

    async def close(self) -> None:
        await self._adapter.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with ScriptedEngine() as engine:
        made = Bench(engine)
        yield made
        await made.close()


async def test_exactly_one_of_fifty_callers_reaches_the_engine(bench: Bench, measurements: Measurements) -> None:
    """The others are refused until the one has its answer, which closes the breaker for all."""
    await bench.open_breaker()
    before = bench.engine.calls[METHOD]
    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(bench.caller(), name=f"caller {index}") for index in range(CALLERS)]
        await bench.engine.wait_called(METHOD, before + 1)
        await asyncio.sleep(0.3)
        reached = bench.engine.calls[METHOD] - before
        assert bench.source.guard.state is State.HALF_OPEN
        bench.engine.restore(METHOD)
        await until(lambda: bench.source.guard.state is State.CLOSED, within_s=5, what="the breaker closes")
        for caller in callers:
            caller.cancel()
    fault = Fault(measurements, f"{CALLERS} callers at a half-open breaker", "concurrent calls")
    fault.kept("exactly one reaches the engine", reached, limit=1, unit="calls")
    assert reached == 1


async def test_cancelled_trial_neither_closes_nor_blocks_the_breaker(bench: Bench, measurements: Measurements) -> None:
    """The cancellation arrives as such, also as that of a time-out around it; the next trial is allowed at once."""
    await bench.open_breaker()
    guard, before = bench.source.guard, bench.engine.calls[METHOD]
    failures = guard.consecutive_failures
    trial = asyncio.create_task(bench.caller(), name="trial")
    await bench.engine.wait_called(METHOD, before + 1)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert (guard.state, guard.consecutive_failures) == (State.HALF_OPEN, failures)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await bench.caller()
    assert bench.engine.calls[METHOD] == before + 2, "the next trial was refused"
    assert (guard.state, guard.consecutive_failures) == (State.HALF_OPEN, failures)
    bench.engine.restore(METHOD)
    cancelled_s = time.monotonic()
    last = asyncio.create_task(bench.caller(), name="last trial")
    await until(lambda: guard.state is State.CLOSED, within_s=5, what="the breaker closes")
    last.cancel()
    await asyncio.wait([last])
    fault = Fault(measurements, "a trial is cancelled", "task.cancel")
    fault.kept("breaker not closed by it, next trial allowed at once", time.monotonic() - cancelled_s, limit=0.5)


async def test_bridge_asks_an_engine_behind_open_breakers_once_for_each_trial(
    connect: Connect, measurements: Measurements
) -> None:
    """In a real bridge: no call while the breaker is open, one while it is half open, however long that one hangs."""
    settings = {"ENGINE_BRIDGE_BREAKER_RESET_S": "1", "ENGINE_BRIDGE_CALL_TIMEOUT_S": "2"}
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, poll_s=0.1, bridge_settings=settings) as stack,
    ):
        client = await connect(stack.ws_url(), types=["*"])
        await fresh(client)
        mark = client.mark()
        engine.fail(METHOD)
        opened = await arrived(client, "circuit_breaker.open", since=mark, topic=TOPIC)
        before = engine.calls[METHOD]
        engine.hang(METHOD)
        half_open = await arrived(client, "circuit_breaker.half_open", since=mark, topic=TOPIC)
        assert half_open.received_s - opened.received_s > 0.9
        await engine.wait_called(METHOD, before + 1)
        await arrived(client, "circuit_breaker.open", since=client.mark(), topic=TOPIC)
        calls = engine.calls[METHOD] - before
        fault = Fault(measurements, "a trial hangs for 2 s, 10 polls a second", "scripted engine")
        fault.kept("exactly one reaches the engine", calls, limit=1, unit="calls")
        assert calls == 1
        assert client.closed is None
