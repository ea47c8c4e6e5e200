"""Words for telling a fault: who pushes numbers, what a client saw of it and when."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from engine_events.v1 import event_service_pb2, event_service_pb2_grpc

from tests.kit.client import Recorder
from tests.kit.history import published_once
from tests.kit.measure import Measurements
from tests.kit.netns import Place
from tests.kit.program import Program
from tests.kit.record import Message, Received

__all__ = [
    "STATES",
    "Fault",
    "Footprint",
    "arrived",
    "bridge_status",
    "first_fresh",
    "first_stale",
    "fresh",
    "number",
    "number_after",
    "numbers",
    "numbers_engine",
    "said",
    "whole",
]

STATES = ("system.status", "storage.update", "agent.status", "compression.update")

_RATE_PER_S = 20


def numbers_engine(directory: Path, *, place: Place | None = None, name: str = "engine") -> Program:
    """A scripted engine in a process of its own that pushes the notifications n=1, n=2, … twenty times a second."""
    return Program(
        name,
        "tests.kit.scripted_engine",
        listen="--listen",
        directory=directory,
        arguments=("--rate", str(_RATE_PER_S)),
        place=place,
    )


def said(message: Message, kind: str, **data: object) -> bool:
    """Whether it is of this type and its data holds these values."""
    got = message.get("data")
    return message.get("type") == kind and isinstance(got, dict) and data.items() <= got.items()


async def arrived(client: Recorder, kind: str, *, since: int, within_s: float = 10.0, **data: object) -> Received:
    """The first message of a type whose data holds these values, from a mark on."""
    return await client.wait_for(lambda message: said(message, kind, **data), since=since, within_s=within_s)


async def first_stale(
    client: Recorder, *, since: int, kinds: Iterable[str] = STATES, within_s: float = 10.0, **data: object
) -> float:
    """When the last of the types was told to be stale for the first time since a mark, time.monotonic()."""
    return await _all(client, since, kinds, within_s, {"stale": True, **data})


async def first_fresh(client: Recorder, *, since: int, kinds: Iterable[str] = STATES, within_s: float = 10.0) -> float:
    """When the last of the types was fresh for the first time since a mark, time.monotonic()."""
    return await _all(client, since, kinds, within_s, {"stale": False})


async def fresh(client: Recorder, *, kinds: Iterable[str] = STATES) -> None:
    """Waits until everything has been fresh once: the scene before a fault."""
    await first_fresh(client, since=0, kinds=kinds, within_s=20)


async def _all(client: Recorder, since: int, kinds: Iterable[str], within_s: float, data: dict[str, object]) -> float:
    deadline_s = time.monotonic() + within_s
    came = [await arrived(client, kind, since=since, within_s=deadline_s - time.monotonic(), **data) for kind in kinds]
    return max(received.received_s for received in came)


def number(message: Message) -> int | None:
    """17 for the notification n=17."""
    text = message["data"].get("message") if message.get("type") == "notification" else None
    return int(text[2:]) if isinstance(text, str) and text.startswith("n=") else None


def numbers(client: Recorder) -> list[int]:
    """Every number that came, in the order of arrival."""
    return [value for entry in client.history if (value := number(entry.message)) is not None]


async def number_after(client: Recorder, *, since: int, above: int = 0, within_s: float = 10.0) -> Received:
    """The first number higher than `above`, from a mark on."""
    return await client.wait_for(lambda message: (number(message) or 0) > above, since=since, within_s=within_s)


def whole(client: Recorder, *, first: int | None = None, last: int | None = None) -> None:
    """Every number from the first that came (or `first`) to the last one (or `last`) came once and in order, none of
    them told lost instead. AssertionError otherwise."""
    came = numbers(client)
    assert came, "no number came"
    first, last = came[0] if first is None else first, max(came) if last is None else last
    assert published_once(client.history, [f"n={value}" for value in range(first, last + 1)]) == []
    assert came == list(range(first, last + 1))


@dataclass(frozen=True)
class Fault:
    """One row of the table of faults, to which a test adds what it measured."""

    measurements: Measurements
    name: str
    injected_by: str

    def kept(self, promise: str, measured: float, *, limit: float, unit: str = "s") -> None:
        """Records what was measured. AssertionError: it is more than `limit`."""
        self.measurements.assert_kept(
            fault=self.name,
            injected_by=self.injected_by,
            promise=promise,
            limit=limit,
            measured=measured,
            unit=unit,
        )


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    threads: int
    descriptors: int
    rss_bytes: int

    @classmethod
    def of(cls, program: Program) -> "Footprint":
        return cls(program.thread_count(), program.descriptor_count(), program.rss_bytes())

    def growth_since(self, before: "Footprint") -> int:
        """Threads and descriptors more than before; 0 if there are less."""
        return max(0, self.threads - before.threads) + max(0, self.descriptors - before.descriptors)


async def bridge_status(bridge: Program) -> event_service_pb2.GetBridgeStatusResponse:
    """What the bridge says of itself."""
    async with grpc.aio.insecure_channel(bridge.address) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        return await stub.GetBridgeStatus(event_service_pb2.GetBridgeStatusRequest(), timeout=5)
