"""The wall clock is stepped by an hour, forth and back: time stamps change, and nothing else."""

import asyncio
import itertools
import time
from datetime import datetime
from pathlib import Path

from tests.end_to_end.conftest import Connect
from tests.faults.scene import STATES, Fault, arrived, first_stale, fresh
from tests.faults.stepped_clock import SteppedClock
from tests.kit.client import Recorder
from tests.kit.measure import Measurements
from tests.kit.programs import Stack

HOUR_S = 3600
POLL_S = 0.5
RESET_S = 2


def at_s(stamp: str) -> float:
    """A message's timestamp as Unix seconds."""
    return datetime.fromisoformat(stamp).timestamp()


def shortest_and_longest_s(client: Recorder, kind: str, since: int) -> tuple[float, float]:
    """Shortest and longest time between two messages of a type."""
    times = [entry.received_s for entry in client.history[since:] if entry.message["type"] == kind]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return min(gaps), max(gaps)


async def test_stepped_clock_changes_time_stamps_only(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """No source goes stale, polls and heartbeats keep their rhythm, ages stay those of the data."""
    clock = SteppedClock(tmp_path)
    stack = Stack(poll_s=POLL_S, heartbeat_s=1)
    for program in stack.programs:
        program.settings.update(clock.settings)
    async with stack:
        client = await connect(stack.ws_url(), types=["*"])
        await fresh(client)
        for step_s, name in ((HOUR_S, "+1 h"), (0, "-1 h"), (-HOUR_S, "-1 h")):
            fault = Fault(measurements, f"wall clock stepped by {name}", "LD_PRELOAD")
            mark = client.mark()
            clock.step_to(step_s)
            await asyncio.sleep(2.6)
            seen = [entry.message for entry in client.history[mark:]]
            stamps = [at_s(message["timestamp"]) - time.time() for message in seen[3:]]
            assert all(abs(stamp - step_s) < 5 for stamp in stamps), "the clock was not stepped"
            trouble = [
                message
                for message in seen
                if message["data"].get("stale")
                or message["type"] in ("rpc_error", "connection_error")
                or message["type"].startswith("circuit_breaker")
            ]
            fault.kept("no source goes stale, nothing is reported", len(trouble), limit=0, unit="events")
            for kind, period_s in (("system.status", POLL_S), ("heartbeat", 1.0)):
                least_s, most_s = shortest_and_longest_s(client, kind, mark)
                off_s = max(period_s - least_s, most_s - period_s)
                fault.kept(f"no timer early or late: {kind} keeps its rhythm", off_s, limit=0.3)
            beats = [message["data"]["freshness"] for message in seen if message["type"] == "heartbeat"]
            assert all(age >= 0 for beat in beats for age in beat.values())
            oldest_s = max(beat[kind] for beat in beats for kind in STATES)
            fault.kept("ages in heartbeats stay those of the data", oldest_s, limit=POLL_S + 0.3)
        assert client.closed is None


async def test_stepped_clock_does_not_shorten_or_lengthen_an_outage(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """A breaker waits its time, whatever the wall clock does meanwhile, and what is stale stays as old as it is."""
    clock = SteppedClock(tmp_path)
    settings = {"ENGINE_BRIDGE_BREAKER_RESET_S": str(RESET_S), "ENGINE_BRIDGE_BREAKER_FAILURES": "2"}
    stack = Stack(poll_s=POLL_S, heartbeat_s=1, bridge_settings=settings)
    for program in stack.programs:
        program.settings.update(clock.settings)
    async with stack:
        client = await connect(stack.ws_url(), types=["*"])
        await fresh(client)
        mark, killed_s = client.mark(), time.monotonic()
        await stack.engine.kill()
        await first_stale(client, since=mark)
        for step_s, name, wait_s in ((HOUR_S, "+1 h", RESET_S), (-HOUR_S, "-1 h", 2 * RESET_S)):
            opened = await arrived(client, "circuit_breaker.open", since=mark, topic="system.status")
            clock.step_to(step_s)
            half = await arrived(client, "circuit_breaker.half_open", since=mark, topic="system.status")
            mark = client.history.index(half) + 1
            off_s = abs(half.received_s - opened.received_s - wait_s)
            fault = Fault(measurements, f"wall clock stepped by {name}", "LD_PRELOAD")
            fault.kept("no timer early or late: a breaker waits its time", off_s, limit=POLL_S + 0.2)
        beat = await client.wait_for("heartbeat", since=client.mark())
        age_s = beat.message["data"]["freshness"]["system.status"]
        assert abs(age_s - (beat.received_s - killed_s)) < POLL_S + 0.3
        assert client.closed is None
