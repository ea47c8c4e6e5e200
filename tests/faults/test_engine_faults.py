"""The engine is killed, comes back, freezes, thaws, or one method of it goes wrong."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.scene import (
    STATES,
    Fault,
    Footprint,
    arrived,
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
from tests.kit.program import Program
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

PUSHED = "scheduler.metrics"  # a state that the host engine streams and nobody polls


async def watch_all(stack: Stack, connect: Connect) -> Recorder:
    """A client of everything, once everything is fresh."""
    client = await connect(stack.ws_url(), types=["*"])
    await fresh(client)
    return client


async def test_killed_engine_is_told_at_once_and_fresh_again_when_it_is_back(
    connect: Connect, measurements: Measurements
) -> None:
    """Two bridges of one engine, 6 s without it: polling every 5 s (the default), breakers are still closed when it is
    back; twice a second, they are open, and would stay so for 10 s."""
    async with Stack(poll_s=5) as slow, Stack(engine_url=slow.engine.grpc_url, poll_s=0.5) as quick:
        clients = [await watch_all(stack, connect) for stack in (slow, slow, quick)]
        await fresh(clients[0], kinds=[PUSHED])
        marks, killed_s = [client.mark() for client in clients], time.monotonic()
        await slow.engine.kill()
        told_s = await first_stale(clients[0], since=marks[0])
        pushed_s = await first_stale(clients[0], since=marks[0], kinds=[PUSHED])
        opened = [await arrived(clients[2], "circuit_breaker.open", since=marks[2], topic=kind) for kind in STATES]
        await asyncio.sleep(killed_s + 6 - time.monotonic())
        open_already = {message["data"]["topic"] for message in clients[0].record.of_type("circuit_breaker.open")}
        assert not open_already & set(STATES)
        marks = [client.mark() for client in clients]
        await slow.engine.start()
        back_s = time.monotonic()
        fresh_s = [await first_fresh(client, since=mark) for client, mark in zip(clients, marks, strict=True)]
        for kind in STATES:
            await arrived(clients[2], "circuit_breaker.closed", since=marks[2], topic=kind)

        killed = Fault(measurements, "engine killed", "SIGKILL")
        killed.kept("stale told within one poll interval (5 s)", told_s - killed_s, limit=5)
        killed.kept("what the engine streams: stale told within 0.5 s", pushed_s - killed_s, limit=0.5)
        failures = {each.message["data"]["consecutive_failures"] for each in opened}
        assert failures == {5}
        killed.kept("breaker open after 5 failures", max(failures), limit=5, unit="failures")
        closed = sum(client.closed is not None for client in clients)
        killed.kept("no client closed", closed, limit=0, unit="clients")
        back = Fault(measurements, "engine back after 6 s", "restart")
        back.kept("fresh within 2 s", max(fresh_s[:2]) - back_s, limit=2)
        back.kept("fresh within 2 s with breakers that wait for 10 s", fresh_s[2] - back_s, limit=2)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(not LONG, reason="takes 130 s: set FAULTS_LONG=1")
async def test_engine_back_after_minutes_is_fresh_within_two_seconds(
    connect: Connect, measurements: Measurements
) -> None:
    """Five bridges of one engine, as they are by default: their breakers wait for up to 160 s by then."""
    away_s = 130
    back = Fault(measurements, f"engine back after {away_s} s", "restart")
    async with AsyncExitStack() as programs:
        first = await programs.enter_async_context(Stack(poll_s=5))
        url = first.engine.grpc_url
        stacks = [first] + [await programs.enter_async_context(Stack(engine_url=url, poll_s=5)) for _ in range(4)]
        clients = [await watch_all(stack, connect) for stack in stacks]
        await first.engine.kill()
        await asyncio.sleep(away_s)
        for client in clients:
            assert len(client.record.of_type("circuit_breaker.open")) >= len(STATES)
        marks = [client.mark() for client in clients]
        await first.engine.start()
        back_s = time.monotonic()
        for client, mark in zip(clients, marks, strict=True):
            fresh_s = await first_fresh(client, since=mark)
            back.kept("fresh within 2 s (probe), not after the breaker's wait", fresh_s - back_s, limit=2)
            assert client.closed is None


async def test_frozen_engine_is_told_and_fresh_when_it_thaws(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """Each call ends at its deadline, nothing piles up behind it, and no event comes twice.

    40 s, in the long form, are more than the stream (15 s) and the connection (25 s) last."""
    freezes_s = [8, *[40] * 5] if LONG else [8]
    async with AsyncExitStack() as programs, asyncio.TaskGroup() as tasks:
        for index, frozen_s in enumerate(freezes_s):
            engine = await programs.enter_async_context(numbers_engine(tmp_path, name=f"engine-{index}"))
            stack = await programs.enter_async_context(Stack(engine_url=engine.grpc_url, poll_s=1))
            client = await watch_all(stack, connect)
            frozen = Fault(measurements, f"engine frozen for {frozen_s} s; thawed", "SIGSTOP, SIGCONT")
            tasks.create_task(freeze(frozen, engine, stack, client, frozen_s))


async def freeze(frozen: Fault, engine: Program, stack: Stack, client: Recorder, frozen_s: int) -> None:
    """One engine of its own, one bridge, one client."""
    await number_after(client, since=0)
    before = Footprint.of(stack.bridge)
    mark, frozen_at_s = client.mark(), time.monotonic()
    engine.stop()
    told_s = await first_stale(client, since=mark, within_s=20)
    error = await arrived(client, "rpc_error", since=mark, error_code="SYSTEM_STATUS_FAILED")
    assert error.message["data"]["reason"] == "rpc_timeout"
    await asyncio.sleep(frozen_at_s + frozen_s - time.monotonic())
    during, status = Footprint.of(stack.bridge), await bridge_status(stack.bridge)
    assert status.subscribers == 1
    assert not status.engine_healthy
    mark, last = client.mark(), max(numbers(client))
    engine.cont()
    thawed_s = time.monotonic()
    fresh_s = await first_fresh(client, since=mark)
    pushed = await number_after(client, since=mark, above=last)
    await number_after(client, since=mark, above=last + 20)
    whole(client)
    told = "each call fails at its deadline: stale told within the interval and that (1 s + 2 s, 0.2 s on the way)"
    frozen.kept(told, told_s - frozen_at_s, limit=3.2)
    growth = during.growth_since(before)
    frozen.kept("nothing piles up", growth, limit=8, unit="threads and descriptors")
    frozen.kept("fresh within 2 s of the thaw", fresh_s - thawed_s, limit=2)
    frozen.kept("events within 2 s of the thaw", pushed.received_s - thawed_s, limit=2)
    twice = len(numbers(client)) - len(set(numbers(client)))
    frozen.kept("no event twice", twice, limit=0, unit="events")
    assert during.rss_bytes - before.rss_bytes < 8 << 20
    assert client.closed is None


async def test_one_method_that_goes_wrong_leaves_the_other_topics_fresh(
    connect: Connect, measurements: Measurements
) -> None:
    """Each topic is behind a breaker of its own, and a method that does not exist is no failure."""
    settings = {"ENGINE_BRIDGE_BREAKER_RESET_S": "1"}
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, poll_s=0.3, bridge_settings=settings) as stack,
    ):
        client = await watch_all(stack, connect)
        for what, method, kind, spoil in (
            ("fails", "ListAgents", "agent.status", engine.fail),
            ("hangs", "GetStorageStatus", "storage.update", engine.hang),
            ("does not exist", "GetSystemStatus", "system.status", engine.absent),
        ):
            mark = client.mark()
            spoil(method)
            await first_stale(client, since=mark, kinds=[kind])
            others = [other for other in STATES if other != kind]
            for _ in range(6):  # rounds of polls: five failures open the breaker of the one
                await first_fresh(client, since=client.mark(), kinds=others)
            stale = [
                entry.message
                for entry in client.history[mark:]
                if entry.message["type"] in others and entry.message["data"]["stale"]
            ]
            one = Fault(measurements, f"one engine method {what}", "scripted engine")
            one.kept("the other topics stay fresh", len(stale), limit=0, unit="stale events")
            engine.restore(method)
            if what == "does not exist":
                await engine.restart()  # a method that was missing is looked for when the engine comes back
            await first_fresh(client, since=client.mark(), kinds=[kind], within_s=15)
        engine.absent("WatchEvents")
        mark = client.mark()
        await first_fresh(client, since=mark)
        assert client.closed is None
