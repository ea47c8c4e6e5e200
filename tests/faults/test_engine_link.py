"""The engine runs on, and the connection to it does not: it vanishes, is reset, half-closed, cut, or sent away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.pulse import Pulse
from tests.faults.scene import (
    Fault,
    Footprint,
    bridge_status,
    first_fresh,
    first_stale,
    fresh,
    number_after,
    numbers,
    numbers_engine,
    whole,
)
from tests.kit.client import Recorder
from tests.kit.measure import Measurements
from tests.kit.netns import Network
from tests.kit.program import Program
from tests.kit.programs import Stack
from tests.kit.proxy import Proxy
from tests.kit.scripted_engine import ScriptedEngine
from tests.kit.waiting import until

NOTICED_S = 7  # a poll every 5 s, which fails after 2 s


@pytest.mark.netns
async def test_blackholed_engine_is_noticed_and_fresh_soon_after_healing(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """Neither end is told. What waits to be sent again on the old connection must not hold up the new one; what the
    engine pushed meanwhile comes after, once and in order. In the long form also for longer than anything lasts."""
    aways_s = {"e0": 3, "e1": 10, **({f"e{index}": 40 for index in range(2, 7)} if LONG else {})}
    async with AsyncExitStack() as programs, asyncio.TaskGroup() as tasks:
        network = programs.enter_context(Network("hub", *aways_s))
        hub = network.place("hub", "127.0.0.1")
        for name, away_s in aways_s.items():
            engine = numbers_engine(tmp_path, place=network.place(name), name=name)
            await programs.enter_async_context(engine)
            stack = Stack(engine_url=engine.grpc_url, poll_s=5, places={"bridge": hub, "gateway": hub})
            await programs.enter_async_context(stack)
            client = await connect(stack.ws_url(), types=["*"], namespace=hub.namespace)
            await fresh(client)
            fault = Fault(measurements, f"engine link blackholed for {away_s} s; healed", "network namespaces")
            cut, heal = partial(network.blackhole, name), partial(network.heal, name)
            tasks.create_task(blackhole(fault, engine, stack, client, away_s, cut, heal))


async def blackhole(
    fault: Fault,
    engine: Program,
    stack: Stack,
    client: Recorder,
    away_s: float,
    cut: Callable[[], None],
    heal: Callable[[], None],
) -> None:
    """One engine in a namespace of its own, one bridge, one client."""
    await number_after(client, since=0)
    before = Footprint.of(stack.bridge)
    mark, cut_s = client.mark(), time.monotonic()
    cut()
    if away_s > NOTICED_S:
        told_s = await first_stale(client, since=mark, within_s=20)
        fault.kept("noticed within 15 s", told_s - cut_s, limit=15)
    await asyncio.sleep(cut_s + away_s - time.monotonic())
    during = Footprint.of(stack.bridge)
    mark, last = client.mark(), max(numbers(client))
    heal()
    healed_s = time.monotonic()
    if away_s > NOTICED_S:
        fresh_s = await first_fresh(client, since=mark)
        fault.kept("fresh within 3 s of healing", fresh_s - healed_s, limit=3)
    pushed = await number_after(client, since=mark, above=last, within_s=20)
    fault.kept("events within 3 s of healing", pushed.received_s - healed_s, limit=3)
    await number_after(client, since=mark, above=last + int(20 * away_s), within_s=20)
    whole(client)
    missing = max(numbers(client)) - min(numbers(client)) + 1 - len(set(numbers(client)))
    fault.kept("no event lost", missing, limit=0, unit="events")
    growth = during.growth_since(before)
    fault.kept("nothing piles up", growth, limit=8, unit="threads and descriptors")
    assert client.closed is None
    await engine.kill()  # the scripted one still has the old stream, and is not clean about it on SIGTERM


async def test_connection_that_breaks_in_any_way_is_there_again_within_a_second(
    connect: Connect, measurements: Measurements
) -> None:
    """Cut anywhere, in the middle of a frame too: no event comes in part, twice or not at all. (One that breaks more
    often than once a second has to wait longer each time.)"""
    async with (
        ScriptedEngine() as engine,
        ScriptedEngine(quiet_s=0.05) as successor,
        Proxy(engine.address) as proxy,
        Stack(engine_url=f"grpc://{proxy.address}", poll_s=0.5) as stack,
        Pulse(engine, every_s=0.02) as pulse,
    ):
        client = await connect(stack.ws_url(), types=["*"])
        await fresh(client)
        await number_after(client, since=0)
        before = Footprint.of(stack.bridge)

        async def breaks(what: str, injected_by: str, break_it: Callable[[], Awaitable[object]]) -> None:
            connections = proxy.accepted_count
            await break_it()
            broken_s = time.monotonic()
            at = await number_after(client, since=0, above=pulse.mark())
            assert proxy.accepted_count > connections, "the connection did not break"
            fault = Fault(measurements, f"engine {what}", injected_by)
            fault.kept("reconnected within 1 s", at.received_s - broken_s, limit=1)
            await first_fresh(client, since=client.mark())
            await asyncio.sleep(1.1)

        async def reset() -> None:
            proxy.reset()

        async def half_close(direction: Literal["up", "down"]) -> None:
            proxy.half_close(direction)

        async def cut_after(count: int) -> None:
            end = proxy.down.forwarded_bytes + count
            proxy.down.cut_after(count)
            await until(lambda: proxy.down.forwarded_bytes >= end, within_s=5, what="the cut")

        async def hand_over() -> None:
            successor.epoch, successor.events = engine.epoch, engine.events
            proxy.upstream = successor.address
            await engine.stop()

        await breaks("resets", "TCP proxy", reset)
        await breaks("half-closes", "TCP proxy", partial(half_close, "down"))
        await breaks("is half-closed", "TCP proxy", partial(half_close, "up"))
        for count in (1, 8, 100, 1001):
            await breaks("cuts after n bytes", "TCP proxy", partial(cut_after, count))
        await breaks("sends GOAWAY", "graceful stop, another takes over", hand_over)
        await pulse.stop()
        await number_after(client, since=0, above=pulse.mark() - 1)
        whole(client, last=pulse.mark())
        assert Footprint.of(stack.bridge).growth_since(before) <= 4
        assert (await bridge_status(stack.bridge)).subscribers == 1
        assert client.closed is None
