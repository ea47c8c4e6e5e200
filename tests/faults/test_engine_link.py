"""The engine runs on, and the connection to it does not: it vanishes, is reset, half-closed, cut, or sent away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

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


class Link:
    """What connects one bridge to one engine, and another engine that can take over."""

    def __init__(self, engine: ScriptedEngine, successor: ScriptedEngine, proxy: Proxy) -> None:
        self._engine = engine
        self._successor = successor
        self._proxy = proxy

    async def reset(self) -> None:
        self._proxy.reset()

    async def half_close(self) -> None:
        self._proxy.half_close("down")

    async def half_close_other(self) -> None:
        self._proxy.half_close("up")

    async def cut_after(self, count: int) -> None:
        down = self._proxy.down
        end = down.forwarded_bytes + count
        down.cut_after(count)
        await until(lambda: down.forwarded_bytes >= end, within_s=5, what="the cut")

    async def send_away(self) -> None:
        self._successor.epoch, self._successor.events = self._engine.epoch, self._engine.events
        self._proxy.upstream = self._successor.address
        await self._engine.stop()


async def watched(engine: ScriptedEngine) -> None:
    """Waits until the bridge reads what the engine pushes."""
    await until(lambda: engine.watchers == 1, within_s=5, what="the bridge watches")


async def connected_again(proxy: Proxy, connections: int) -> None:
    """Waits until there have been more connections than so many: the one there was did break."""
    await until(lambda: proxy.accepted_count > connections, within_s=5, what="the connection broke")


BREAKS: tuple[tuple[str, str, Callable[[Link], Awaitable[None]]], ...] = (
    ("resets", "TCP proxy", Link.reset),
    ("half-closes", "TCP proxy", Link.half_close),
    ("is half-closed", "TCP proxy", Link.half_close_other),
    ("cuts after n bytes", "TCP proxy", partial(Link.cut_after, count=1)),
    ("cuts after n bytes", "TCP proxy", partial(Link.cut_after, count=8)),
    ("cuts after n bytes", "TCP proxy", partial(Link.cut_after, count=100)),
    ("cuts after n bytes", "TCP proxy", partial(Link.cut_after, count=1001)),
    ("sends GOAWAY", "graceful stop, another takes over", Link.send_away),
)


async def test_connection_that_breaks_in_any_way_is_there_again_within_a_second(
    connect: Connect, measurements: Measurements
) -> None:
    """Cut anywhere, in the middle of a frame too: no event comes in part, twice or not at all. (One that breaks again
    and again is waited for longer.)"""
    async with AsyncExitStack() as programs:
        for what, injected_by, break_it in BREAKS:
            engine = await programs.enter_async_context(ScriptedEngine())
            successor = await programs.enter_async_context(ScriptedEngine(quiet_s=0.05))
            proxy = await programs.enter_async_context(Proxy(engine.address))
            async with Stack(engine_url=f"grpc://{proxy.address}", poll_s=0.5) as stack:
                client = await connect(stack.ws_url(), types=["*"])
                await fresh(client)
                await watched(engine)
                async with Pulse(engine, every_s=0.02) as pulse:
                    await number_after(client, since=0)
                    before, connections = Footprint.of(stack.bridge), proxy.accepted_count
                    await break_it(Link(engine, successor, proxy))
                    broken_s = time.monotonic()
                    # one whose other end alone was told may still bring an event or two
                    await connected_again(proxy, connections)
                    at = await number_after(client, since=0, above=pulse.mark())
                    fault = Fault(measurements, f"engine {what}", injected_by)
                    fault.kept("reconnected within 1 s", at.received_s - broken_s, limit=1)
                    await first_fresh(client, since=client.mark())
                await number_after(client, since=0, above=pulse.mark() - 1)
                whole(client, first=1, last=pulse.mark())
                assert Footprint.of(stack.bridge).growth_since(before) <= 4
                assert (await bridge_status(stack.bridge)).subscribers == 1
                assert client.closed is None
