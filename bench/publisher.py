"""Publishes at a rate that no server can slow down: `python -m bench.publisher lines|nats|centrifugo HOST:PORT`.

An open loop: events are made when they are due and stamped then; what a server does not take waits in this process's
own memory, and counts as latency. Commands are JSON lines on standard input, see `serve`.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    if kind == "nats":
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        asyncio.get_running_loop().create_task(_answer_pings(reader, writer), name="pings")
    posted: list[bytes] = []
    something = asyncio.Event()
    if kind == "centrifugo":
        asyncio.get_running_loop().create_task(_post(reader, writer, posted, something), name="post")

    def send(events: Sequence[Numbered], order: Order) -> None:
        bodies = [message(number, stamp_ns, order.size_bytes) for number, stamp_ns in events]
        if kind == "centrifugo":
            posted.extend(bodies)
            something.set()
        elif kind == "nats":
            writer.write(b"".join(b"PUB bench %d\r\n%b\r\n" % (len(body), body) for body in bodies))
        else:
            writer.write(b"".join(body + b"\n" for body in bodies))

    await serve(send)


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bodies: list[bytes], something: asyncio.Event
) -> None:
    """Posts one batch after the other to Centrifugo's HTTP API: each holds what has come while the one before it was on
    its way."""
    while await something.wait():
        something.clear()
        commands = b",".join(b'{"publish":{"channel":"bench","data":%b}}' % body for body in bodies)
        bodies.clear()
        payload = b'{"commands":[%b]}' % commands
        head = b"POST /api/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(payload), payload))
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"Centrifugo answered {answer!r}")
        await _body(reader, answer)


async def _body(reader: asyncio.StreamReader, head: bytes) -> None:
    """Reads an answer's body to its end, chunked or not."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None:
        await reader.readexactly(int(length[1]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


async def _answer_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
