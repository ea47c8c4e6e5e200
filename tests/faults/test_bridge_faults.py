"""The bridge is killed and restarted, freezes, or its link to the gateway vanishes: clients stay, and are told."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.scene import (
    Fault,
    Footprint,
    first_fresh,
    first_stale,
    fresh,
    number_after,
    numbers,
    numbers_engine,
    whole,
)
from tests.kit.client import Recorder
from tests.kit.history import is_notice
from tests.kit.measure import Measurements
from tests.kit.netns import Network
from tests.kit.programs import Stack

GIVEN_UP_S = 15  # a stream on which nothing comes
SHORT_S, LONG_S = 6, 17


@pytest.fixture
def network() -> Iterator[Network]:
    with Network("brief", "lasting", "gateways") as made:
        yield made


async def test_killed_bridge_is_told_and_its_new_epoch_when_it_is_back(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """The gateway serves on, also those who come meanwhile; everything from the new bridge's first event on arrives."""
    fault = Fault(measurements, "bridge killed and restarted", "SIGKILL")
    engine = numbers_engine(tmp_path)
    async with engine, Stack(engine_url=engine.grpc_url, poll_s=5) as stack:
        client, other = [await connect(stack.ws_url(), types=["*"]) for _ in range(2)]
        await fresh(client)
        before = client.welcome["epoch"]
        mark, killed_s = client.mark(), time.monotonic()
        await stack.bridge.kill()
        told_s = await first_stale(client, since=mark, error_code="BRIDGE_DISCONNECT")
        fault.kept("stale told within 1 s", told_s - killed_s, limit=1)
        newcomer = await connect(stack.ws_url(), types=["*"])
        await first_stale(newcomer, since=0, error_code="BRIDGE_DISCONNECT")
        assert (await newcomer.ask({"type": "ping"}, "pong"))["type"] == "pong"
        await asyncio.sleep(killed_s + 3 - time.monotonic())
        marks = [each.mark() for each in (client, other, newcomer)]
        await stack.bridge.start()
        back_s = time.monotonic()
        for each, since in zip((client, other, newcomer), marks, strict=True):
            notice = await each.wait_for(is_notice, since=since)
            data = notice.message["data"]
            assert (data["level"], data["resume"]["recovered"]) == ("warning", False)
            assert data["epoch"] not in (before, "")
            fault.kept("new epoch told within 2 s", notice.received_s - back_s, limit=2)
            fresh_s = await first_fresh(each, since=since)
            fault.kept("fresh within 2 s", fresh_s - back_s, limit=2)
        closed = sum(each.closed is not None for each in (client, other, newcomer))
        fault.kept("clients stay connected", closed, limit=0, unit="clients")
        first = await number_after(client, since=marks[0])
        await number_after(client, since=client.mark())
        again = [value for value in numbers(client) if value >= int(first.message["data"]["message"][2:])]
        assert again == list(range(again[0], again[0] + len(again)))


async def silence(
    fault: Fault, stack: Stack, client: Recorder, silent_s: float, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    """What a client sees of a bridge that cannot be heard for so long, until everything is right again."""
    await fresh(client)
    await number_after(client, since=0)
    before = Footprint.of(stack.gateway)
    mark, began_s = client.mark(), time.monotonic()
    begin()
    if silent_s > GIVEN_UP_S:
        told_s = await first_stale(client, since=mark, within_s=20, error_code="BRIDGE_DISCONNECT")
        fault.kept("noticed within 15 s (0.2 s on the way)", told_s - began_s, limit=GIVEN_UP_S + 0.2)
    await asyncio.sleep(began_s + silent_s - time.monotonic())
    during = Footprint.of(stack.gateway)
    mark, last = client.mark(), max(numbers(client))
    end()
    ended_s = time.monotonic()
    back = await number_after(client, since=mark, above=last, within_s=20)
    if silent_s > GIVEN_UP_S:
        fault.kept("events within 3 s of its end", back.received_s - ended_s, limit=3)
    else:
        fault.kept("events at the latest 16 s after it began", back.received_s - began_s, limit=GIVEN_UP_S + 1)
    await first_fresh(client, since=mark)
    # all that was pushed meanwhile, and some more
    await number_after(client, since=mark, above=last + int(20 * silent_s), within_s=20)
    whole(client)
    missing = max(numbers(client)) - min(numbers(client)) + 1 - len(set(numbers(client)))
    fault.kept("resume loses nothing", missing, limit=0, unit="events")
    twice = len(numbers(client)) - len(set(numbers(client)))
    fault.kept("no event twice", twice, limit=0, unit="events")
    growth = during.growth_since(before)
    fault.kept("nothing piles up", growth, limit=8, unit="threads and descriptors")
    assert client.closed is None


async def test_frozen_bridge_is_noticed_and_resumed_without_loss(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """Two at once: one thaws before its gateway gives it up, the other long after."""
    engine = numbers_engine(tmp_path)
    async with (
        engine,
        Stack(engine_url=engine.grpc_url, poll_s=5) as first,
        Stack(engine_url=engine.grpc_url, poll_s=5) as second,
        asyncio.TaskGroup() as tasks,
    ):
        for stack, silent_s in ((first, SHORT_S), (second, LONG_S)):
            fault = Fault(measurements, f"bridge frozen for {silent_s} s", "SIGSTOP, SIGCONT")
            client = await connect(stack.ws_url(), types=["*"])
            tasks.create_task(silence(fault, stack, client, silent_s, stack.bridge.stop, stack.bridge.cont))


@pytest.mark.netns
async def test_blackholed_bridge_is_noticed_and_resumed_without_loss(
    network: Network, tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """Two at once, as above. The engine is beside the bridge, so both go on with their work."""
    gateways = network.place("gateways", "127.0.0.1")
    async with AsyncExitStack() as programs, asyncio.TaskGroup() as tasks:
        for name, silent_s in (("brief", SHORT_S), ("lasting", LONG_S)):
            fault = Fault(measurements, f"bridge link blackholed for {silent_s} s", "network namespaces")
            engine = numbers_engine(tmp_path, place=network.place(name, "127.0.0.1"), name=f"engine-{name}")
            await programs.enter_async_context(engine)
            places = {"bridge": network.place(name), "gateway": gateways}
            stack = Stack(engine_url=engine.grpc_url, poll_s=5, places=places)
            await programs.enter_async_context(stack)
            client = await connect(stack.ws_url(), types=["*"], namespace=gateways.namespace)
            begin, end = partial(network.blackhole, name), partial(network.heal, name)
            tasks.create_task(silence(fault, stack, client, silent_s, begin, end))
