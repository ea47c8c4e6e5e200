"""Publishes at a rate that no server can slow down: `python -m bench.publisher lines|nats|centrifugo HOST:PORT`.

An open loop: events are made when they are due and stamped then; what a server does not take waits in this process's
own memory, and counts as latency. Commands are JSON lines on standard input, see `serve`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from bench.events import EVENT_BYTES, message

__all__ = ["Numbered", "Order", "publish", "serve"]

Numbered = tuple[int, int]
"""An event's number and the nanosecond at which it was made."""


@dataclass(frozen=True)
class Order:
    """What to publish."""

    rate: float
    """Events a second."""
    seconds: float
    burst: int = 1
    """So many at a time."""
    size_bytes: int = EVENT_BYTES
    topics: int = 0
    """Over so many types in turn; 0: all are notifications. Only the bench engine knows topics."""


async def publish(order: Order, first: int, send: Callable[[Sequence[Numbered]], None]) -> int:
    """Makes the events of one order; gives how many."""
    count = max(1, round(order.rate * order.seconds))
    period_s = order.burst / order.rate
    began_s = time.monotonic()
    made = 0
    while made < count:
        bursts = int((time.monotonic() - began_s) / period_s) + 1
        due = min(count, bursts * order.burst)
        if due > made:
            stamp_ns = time.monotonic_ns()
            send([(first + index, stamp_ns) for index in range(made, due)])
            made = due
        await asyncio.sleep(max(0.0, began_s + bursts * period_s - time.monotonic()))
    return count


async def serve(send: Callable[[Sequence[Numbered], Order], None]) -> None:
    """Carries out the orders on standard input, one JSON object a line, and answers each with `{"sent": n}`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    first = 1
    print("ready", flush=True)
    while line := await reader.readline():
        order = Order(**json.loads(line))
        sent = await publish(order, first, lambda events, order=order: send(events, order))  # type: ignore[misc]
        first += sent
        print(json.dumps({"sent": sent}), flush=True)


async def _main(kind: str, address: str) -> None:
    if kind == "centrifugo":
        await _serve_centrifugo(address)
        return
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    if kind == "nats":
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        asyncio.get_running_loop().create_task(_answer_pings(reader, writer), name="pings")

    def send(events: Sequence[Numbered], order: Order) -> None:
        bodies = _bodies(events, order)
        if kind == "nats":
            writer.write(b"".join(b"PUB bench %d\r\n%b\r\n" % (len(body), body) for body in bodies))
        else:
            writer.write(b"".join(body + b"\n" for body in bodies))

    await serve(send)


def _bodies(events: Sequence[Numbered], order: Order) -> list[bytes]:
    return [message(number, stamp_ns, order.size_bytes) for number, stamp_ns in events]


async def _serve_centrifugo(address: str) -> None:
    """By its HTTP API, one batch after the other: each holds what has come while the one before it was on its way."""
    waiting: list[bytes] = []
    something = asyncio.Event()

    def send(events: Sequence[Numbered], order: Order) -> None:
        waiting.extend(_bodies(events, order))
        something.set()

    async def post() -> None:
        async with aiohttp.ClientSession(f"http://{address}", raise_for_status=True) as session:
            while await something.wait():
                something.clear()
                commands = b",".join(b'{"publish":{"channel":"bench","data":%b}}' % body for body in waiting)
                waiting.clear()
                async with session.post("/api/batch", data=b'{"commands":[%b]}' % commands) as answer:
                    await answer.read()

    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(post(), name="post")
        await serve(send)
        posting.cancel()


async def _answer_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
