"""What a client sees, and the bridge counts, while the engine sends nonsense: the acts of a witness."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from engine_events.v1 import event_service_pb2, event_service_pb2_grpc

from tests.badinput.acts import Target
from tests.kit.rawclient import Frame, Opcode, RawClient

__all__ = ["ROWS", "TOPICS"]

TOPICS = 100_000
"""So many types of its own the engine makes up."""
_MAX_TYPES = 1000
_WITHIN_S = 15.0

_Message = dict[str, Any]


async def _none_and_unknown(target: Target) -> str:
    """Numbers that are none, and enum values that nobody knows."""
    seen = await _watch(
        target,
        lambda message: message["type"] == "system.status" and message["data"]["cpu_usage"] is None,
        lambda message: "UNSPECIFIED" in [pool["state"] for pool in message["data"].get("pools", [])],
        lambda message: message["type"] == "hostile.numbers" and message["data"] == {"nan": None, "infinity": None},
    )
    return "null, UNSPECIFIED" if seen else "never seen"


async def _no_message(target: Target) -> str:
    """Bytes that are no message, and texts that are not UTF-8."""
    async with _refusals(target) as refused:
        seen = await _watch(
            target,
            lambda message: message["type"] == "system.status" and message["data"]["stale"],
            lambda message: message["type"] == "agent.status" and message["data"]["stale"],
        )
        counted = await refused(1, 1.0)
    return "counted; told stale" if seen and counted else f"{seen=}, {counted=}"


async def _missing(target: Target) -> str:
    """Messages without any field, and nulls for all of them."""
    seen = await _watch(
        target,
        lambda message: message["type"] == "system.status" and message["data"]["hostname"] == "",
        lambda message: message["type"] == "hostile.nothing" and message["data"] == {},
        lambda message: message["type"] == "hostile.nulls" and message["data"] == {"a": None, "b": [None]},
    )
    return "zeros and nulls" if seen else "never seen"


async def _absurd_sizes(target: Target) -> str:
    """Events of 300 KB, and answers of 4 MiB."""
    async with _refusals(target) as refused:
        seen = await _watch(
            target,
            lambda message: message["type"] == "storage.update" and message["data"]["stale"],
        )
        counted = await refused(1, 1.0)
    return "refused and counted; told stale" if seen and counted else f"{seen=}, {counted=}"


async def _topics(target: Target) -> str:
    """Types without end."""
    made_up: set[str] = set()

    def note(message: _Message) -> bool:
        if message["type"].startswith("made.up"):
            made_up.add(message["type"])
        return False

    async with _refusals(target) as refused:
        watching = asyncio.create_task(_watch(target, note), name="watching")
        try:
            rejected = await refused(TOPICS - _MAX_TYPES, _WITHIN_S)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
    if len(made_up) > _MAX_TYPES or rejected < TOPICS - _MAX_TYPES:
        return f"{len(made_up)} taken, {rejected} counted"
    return "1,000 taken at most, the others counted"


ROWS: Sequence[tuple[str, str, str, Callable[[Target], Awaitable[str]], float]] = (
    ("NaN, infinities, unknown enum values", "numbers", "null, UNSPECIFIED", _none_and_unknown, 2.5),
    ("bytes that are no message, bad UTF-8", "bytes", "counted; told stale", _no_message, 2.5),
    ("missing and null fields", "missing", "zeros and nulls", _missing, 2.5),
    ("events of 300 KB, answers of 4 MiB", "sizes", "refused and counted; told stale", _absurd_sizes, 2.5),
    ("100,000 topics", "topics", "1,000 taken at most, the others counted", _topics, 11),
)
"""Name, what the engine does, answer, act, and how long it takes."""


async def _watch(target: Target, *wanted: Callable[[_Message], bool]) -> bool:
    """Whether each wanted message came to a client that sees everything. ValueError: a frame that is no strict JSON."""
    url = f"ws://{target.host}:{target.port}/ws?types=*"
    missing = list(wanted)
    deadline_s = time.monotonic() + _WITHIN_S
    async with await RawClient.open(url, headers={"Authorization": f"Bearer {target.token}"}) as client:
        while missing and isinstance(frame := await client.read_frame(within_s=deadline_s - time.monotonic()), Frame):
            if frame.opcode != Opcode.TEXT:
                continue
            message = json.loads(frame.payload.decode(), parse_constant=_refuse)
            missing = [is_wanted for is_wanted in missing if not is_wanted(message)]
    return not missing


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@asynccontextmanager
async def _refusals(target: Target) -> AsyncIterator[Callable[[int, float], Awaitable[int]]]:
    """To ask how many events of the engine the bridge has refused since: as soon as there are so many, or after so many
    seconds. Over one connection, since the bridge would feel it if there were one for each question."""
    async with grpc.aio.insecure_channel(target.bridge) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)

        async def count() -> int:
            status = await stub.GetBridgeStatus(event_service_pb2.GetBridgeStatusRequest(), timeout=5)
            return sum(source.rejected for source in status.sources)

        before = await count()

        async def refused(at_least: int, within_s: float) -> int:
            deadline_s = time.monotonic() + within_s
            while True:
                since = await count() - before
                if since >= at_least or time.monotonic() > deadline_s:
                    return since
                await asyncio.sleep(0.5)  # the bridge can only be asked, and feels that too

        yield refused
