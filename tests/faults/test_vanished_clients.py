"""Clients that go without a close frame: they vanish, are reset, or end their side only. Nothing of them stays."""

import asyncio
import time

import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.wires import Wire, plain
from tests.kit.measure import Measurements
from tests.kit.netns import Network
from tests.kit.programs import Stack
from tests.kit.rawclient import RawClient
from tests.kit.scripted_engine import ScriptedEngine

GONE = 10


async def websocket(wire: Wire, stack: Stack, namespace: str | None = None) -> RawClient:
    client = await RawClient.open(f"{wire.ws_url(stack)}?types=*", tls=wire.tls, namespace=namespace)
    await client.read_frame()
    return client


async def event_stream(wire: Wire, stack: Stack, namespace: str | None = None) -> RawClient:
    host, _, port = stack.gateway.address.rpartition(":")
    client = await RawClient.open_tcp(host, int(port), tls=wire.tls, namespace=namespace)
    await client.send_bytes(f"GET /api/v1/events?types=* HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return client


async def half_close(client: RawClient) -> None:
    client.half_close()


class Before:
    """How many clients, descriptors and tasks the gateway has, to be compared with later."""

    def __init__(self, wire: Wire, stack: Stack, counts: tuple[int, int, int]) -> None:
        self._wire = wire
        self._stack = stack
        self._counts = counts

    @classmethod
    async def now(cls, wire: Wire, stack: Stack) -> "Before":
        return cls(wire, stack, await cls._count(wire, stack))

    async def wait_again(self, within_s: float) -> float:
        """Waits until they are no more than then; gives the seconds."""
        started_s = time.monotonic()
        while True:
            counts = await self._count(self._wire, self._stack)
            if all(now <= then for now, then in zip(counts, self._counts, strict=True)):
                return time.monotonic() - started_s
            assert time.monotonic() - started_s < within_s, f"{counts} after {within_s} s, before {self._counts}"
            await asyncio.sleep(0.01)  # the gateway's counts can only be asked for

    async def wait_joined(self, count: int) -> None:
        """Waits until so many clients more are counted."""
        deadline_s = time.monotonic() + 5
        while (await self._count(self._wire, self._stack))[0] < self._counts[0] + count:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.01)

    @staticmethod
    async def _count(wire: Wire, stack: Stack) -> tuple[int, int, int]:
        status = await wire.status(stack)
        return status["clients"]["connected"], status["tasks"], stack.gateway.descriptor_count()


async def test_clients_that_go_are_freed_at_once(wire: Wire, measurements: Measurements) -> None:
    """Ten at the same moment, WebSockets or event streams: no client, task or descriptor of theirs is left."""
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, gateway_settings=wire.settings, wait_ready=False) as stack,
    ):
        before = await Before.now(wire, stack)
        for fault, injected_by, leave in (
            ("client resets", "SO_LINGER 0", RawClient.reset),
            ("client half-closes", "shutdown(SHUT_WR)", half_close),
        ):
            for kind in (websocket, event_stream):
                clients = [await kind(wire, stack) for _ in range(GONE)]
                await before.wait_joined(GONE)
                await asyncio.gather(*(leave(client) for client in clients))
                measurements.assert_kept(
                    fault=f"{fault} ({wire.name})",
                    injected_by=injected_by,
                    promise="freed, no task or descriptor left",
                    limit=0.5,
                    measured=await before.wait_again(within_s=10),
                )
                for client in clients:
                    await client.close()


@pytest.mark.netns
@pytest.mark.timeout(200)
async def test_client_that_vanishes_is_freed_when_nothing_of_it_answers(
    connect: Connect, measurements: Measurements
) -> None:
    """WebSockets and event streams, behind a network that swallows all; one elsewhere notices nothing.

    With FAULTS_LONG nothing is sent to them but the heartbeats of the default settings.
    """
    wire = plain()
    types = ["connection_error"] if LONG else ["*"]
    with Network("kept", "gone", "other") as network:
        kept = network.place("kept")
        async with Stack(
            poll_s=120 if LONG else 0.5, places={"engine": kept, "bridge": kept, "gateway": kept}
        ) as stack:
            watcher = await connect(wire.ws_url(stack), namespace=network.namespace("other"), types=types)
            before = await Before.now(wire, stack)
            clients = [
                await kind(wire, stack, network.namespace("gone"))
                for kind in (websocket, event_stream)
                for _ in range(GONE // 2)
            ]
            await before.wait_joined(GONE)
            network.blackhole("gone")
            measurements.assert_kept(
                fault="client vanishes",
                injected_by="network namespace blackholed",
                promise="freed, no task or descriptor left",
                limit=45,
                measured=await before.wait_again(within_s=100),
            )
            assert (await wire.clients(stack))["vanished"] == GONE
            assert watcher.closed is None
            assert watcher.of_type("connection_error") == []
            network.heal("gone")
            for client in clients:
                await client.close()
