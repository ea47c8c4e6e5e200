"""The gateway's descriptors run out: by clients, who are told, and by connections that say nothing."""

import asyncio
import time

import aiohttp
import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.pulse import Pulse, number, percentile
from tests.kit.client import Recorder
from tests.kit.history import check
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.rawclient import RawClient
from tests.kit.scripted_engine import ScriptedEngine

FAULT, INJECTED_BY = "descriptors run out", "RLIMIT_NOFILE lowered to 60 more than are in use"
ROOM = 60


async def served_on(client: Recorder, pulse: Pulse) -> None:
    """Waits until a notification has come that is yet to be pushed."""
    await client.wait_for(number(len(pulse.labels) + 1), within_s=2)


async def wait_let_in(connect: Connect, stack: Stack) -> float:
    """Tries until a client is let in; gives the seconds."""
    started_s = time.monotonic()
    while True:
        try:
            await connect(stack.ws_url(), types=["*"])
        except (aiohttp.ClientError, OSError):
            assert time.monotonic() - started_s < 10
            await asyncio.sleep(0.02)  # one try after the other; only trying tells
        else:
            return time.monotonic() - started_s


async def test_clients_for_whom_there_is_no_descriptor_are_told_so(
    connect: Connect, measurements: Measurements
) -> None:
    """503 and nothing else, while the others are served on; when some have left others are let in."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url) as stack, Pulse(engine) as pulse:
        stack.gateway.limit_descriptors(stack.gateway.descriptor_count() + ROOM)
        clients: list[Recorder] = []
        status = 0
        while not status:
            try:
                clients.append(await connect(stack.ws_url(), types=["*"]))
            except aiohttp.WSServerHandshakeError as error:
                status = error.status
        assert status == 503
        assert clients
        for _ in range(50):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await connect(stack.ws_url())
            assert refused.value.status == 503
        await asyncio.gather(*(served_on(client, pulse) for client in clients))
        await asyncio.gather(*(client.close() for client in clients[:5]))
        measurements.assert_kept(
            fault=FAULT,
            injected_by=f"{INJECTED_BY}, WebSocket clients",
            promise="clients served on; refused with 503 before the end; back when some have left",
            limit=1,
            measured=await wait_let_in(connect, stack),
        )
        for client in clients[5:]:
            assert client.closed is None
            assert check(client.history, reference=clients[5].history) == []


async def test_connections_that_say_nothing_take_no_descriptor_that_is_needed(
    connect: Connect, measurements: Measurements
) -> None:
    """The clients are served on, the processor is not kept busy by what cannot be accepted, and all is well after."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url) as stack, Pulse(engine) as pulse:
        client = await connect(stack.ws_url(), types=["*"])
        await served_on(client, pulse)
        host, _, port = stack.gateway.address.rpartition(":")
        start = pulse.mark()
        cpu_s = stack.gateway.cpu_s()
        await asyncio.sleep(1.5)
        idle_cpu_s = stack.gateway.cpu_s() - cpu_s
        stack.gateway.limit_descriptors(stack.gateway.descriptor_count() + ROOM)
        silent = [await RawClient.open_tcp(host, int(port)) for _ in range(3 * ROOM)]
        quiet, cpu_s = pulse.mark(), stack.gateway.cpu_s()
        await asyncio.sleep(1.5)
        busy_cpu_s = stack.gateway.cpu_s() - cpu_s
        await served_on(client, pulse)
        await asyncio.gather(*(one.close() for one in silent))
        back_s = await wait_let_in(connect, stack)
        by = f"{INJECTED_BY}, connections that say nothing"
        measurements.assert_kept(fault=FAULT, injected_by=by, promise="back when they left", limit=1, measured=back_s)
        measurements.assert_kept(
            fault=FAULT,
            injected_by=by,
            promise="no processor time for what cannot be accepted",
            limit=0.1,
            measured=(busy_cpu_s - idle_cpu_s) / 1.5,
            unit="CPUs",
        )
        assert percentile(pulse.latencies_s(client.history, since=quiet), 0.5) < 0.1
        assert percentile(pulse.latencies_s(client.history, since=start, until=quiet), 0.5) < 0.1
        assert client.closed is None
        assert len(stack.gateway.stderr().splitlines()) < 20
        stack.gateway.limit_descriptors(4096)


async def test_accepting_that_fails_is_tried_again_without_haste(connect: Connect, measurements: Measurements) -> None:
    """A limit below what is open already: every accept fails, those who come wait, and get in when it is lifted."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url) as stack, Pulse(engine) as pulse:
        client = await connect(stack.ws_url(), types=["*"])
        await served_on(client, pulse)
        stack.gateway.limit_descriptors(10)
        waiting = asyncio.ensure_future(connect(stack.ws_url(), types=["*"], within_s=20))
        cpu_s = stack.gateway.cpu_s()
        await asyncio.sleep(1.5)
        busy_cpu_s = stack.gateway.cpu_s() - cpu_s
        await served_on(client, pulse)
        assert not waiting.done()
        stack.gateway.limit_descriptors(4096)
        started_s = time.monotonic()
        await waiting
        by = "RLIMIT_NOFILE lowered below what is in use"
        measurements.assert_kept(
            fault=FAULT, injected_by=by, promise="back when lifted", limit=1, measured=time.monotonic() - started_s
        )
        measurements.assert_kept(
            fault=FAULT,
            injected_by=by,
            promise="accept() does not spin",
            limit=0.3,
            measured=busy_cpu_s / 1.5,
            unit="CPUs",
        )
        assert len(stack.gateway.logs("cannot_accept")) == 1
