"""`python -m tests.badinput.engine HOST:PORT`: the bench's numbered events, and hostile answers meanwhile if told so.

A line on standard input is an order of bench/publisher.py, which is answered; or `{"hostile": NAME, "seconds": S}`,
which is begun and not answered.
"""

import asyncio
import itertools
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2
from google.protobuf import struct_pb2

from bench.events import padded
from bench.publisher import Numbered, Order, publish
from tests.badinput.engine_acts import TOPICS
from tests.kit.scripted_engine import ScriptedEngine, notification

_TEXT_CHARS = 150
_TURNS_PER_S = 20
_TOPICS_AT_ONCE = 500


@dataclass
class _Hostile:
    """What the engine does in each turn, twenty a second; what it answers stands until it is restored."""

    engine: ScriptedEngine
    turns: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # made beforehand: what the engine needs to think them up would delay its own good events
        self._made_up = itertools.cycle([_many_topics(first) for first in range(0, TOPICS, _TOPICS_AT_ONCE)])
        self.turns = {
            "numbers": self._numbers,
            "bytes": self._bytes,
            "missing": self._missing,
            "sizes": self._sizes,
            "topics": self._topics,
        }

    async def run(self, name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for turn in range(round(seconds * _TURNS_PER_S)):
            self.turns[name]()
            await asyncio.sleep(max(0.0, began_s + (turn + 1) / _TURNS_PER_S - loop.time()))
        self.engine.restore()

    def _numbers(self) -> None:
        status = events_pb2.SystemStatus(hostname="hostile", cpu_usage=math.nan, load_average=[math.inf, 1, -math.inf])
        self.engine.answer("GetSystemStatus", engine_service_pb2.GetSystemStatusResponse(status=status))
        pool = events_pb2.StoragePool(name="p", state=77)  # type: ignore[arg-type]
        storage = events_pb2.StorageUpdate(pools=[pool])
        self.engine.answer("GetStorageStatus", engine_service_pb2.GetStorageStatusResponse(storage=storage))
        self.engine.push_other("hostile.numbers", {"nan": math.nan, "infinity": -math.inf})

    def _bytes(self) -> None:
        for method in ("GetSystemStatus", "ListAgents"):
            self.engine.answer(method, b"\xff\xff\xff")
        # a notification whose text is a byte that UTF-8 does not have
        self.engine.push_raw(b"\x12\x0c\x0a\x05a.b_c\x52\x03\x0a\x01\xff")
        self.engine.push_raw(b"\xff\xff\xff")

    def _missing(self) -> None:
        self.engine.answer(
            "GetSystemStatus", engine_service_pb2.GetSystemStatusResponse(status=events_pb2.SystemStatus())
        )
        self.engine.answer("GetStorageStatus", engine_service_pb2.GetStorageStatusResponse())
        self.engine.push(events_pb2.Event())
        self.engine.push(events_pb2.Event(type="hostile.nothing"))
        nulls = events_pb2.Event(type="hostile.nulls")
        nulls.other["a"] = None
        nulls.other["b"] = [None]
        self.engine.push(nulls)
        empty = events_pb2.Event(type="hostile.kindless", other=struct_pb2.Struct(fields={"a": struct_pb2.Value()}))
        self.engine.push(empty)

    def _sizes(self) -> None:
        storage = events_pb2.StorageUpdate(pools=[events_pb2.StoragePool(name="p" * (4 << 20))])
        self.engine.answer("GetStorageStatus", engine_service_pb2.GetStorageStatusResponse(storage=storage))
        self.engine.push_other("hostile.huge", {"x": "y" * 300_000})

    def _topics(self) -> None:
        self.engine.push_raw(next(self._made_up))


def _many_topics(first: int) -> bytes:
    response = engine_service_pb2.WatchEventsResponse()
    for number in range(first, first + _TOPICS_AT_ONCE):
        response.events.add(type=f"made.up_{number}").other.update({"n": number})
    return response.SerializeToString()


async def _main(address: str) -> None:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with ScriptedEngine(host, int(port)) as engine, asyncio.TaskGroup() as tasks:
        hostile = _Hostile(engine)

        def send(events: Sequence[Numbered]) -> None:
            for number, stamp_ns in events:
                engine.push(notification(padded(number, stamp_ns, _TEXT_CHARS)))

        print("ready", flush=True)
        first = 1
        while line := await reader.readline():
            order = json.loads(line)
            if "hostile" in order:
                tasks.create_task(hostile.run(order["hostile"], order["seconds"]), name="hostile")
            else:
                sent = await publish(Order(**order), first, send)
                first += sent
                print(json.dumps({"sent": sent}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
