"""What Python allows: asyncio's own transports, one `write` of the framed event for each, and nothing else at all.

Usage: python -m bench.peers.bare_writes PORT FEED_PORT
"""

import asyncio
import base64
import hashlib
import re
import sys

from bench.peers.lines import serve_lines
from ws_gateway.encode import text_frame

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *(\S+)")


class _Client(asyncio.Protocol):
    """Takes any request for a WebSocket, and ignores what comes after it."""

    everyone: set[asyncio.WriteTransport] = set()  # noqa: RUF012 - of all of them on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if self._transport in self.everyone:
            return
        self._head += data
        key = _KEY.search(self._head)
        if key is not None and self._head.endswith(b"\r\n\r\n"):
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.everyone.add(self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.everyone.discard(self._transport)


def _publish(line: str) -> None:
    frame = text_frame(line.encode())
    for transport in _Client.everyone:
        transport.write(frame)


async def _main(port: int, feed_port: int) -> None:
    await asyncio.get_running_loop().create_server(_Client, "127.0.0.1", port, backlog=1024)
    await serve_lines(feed_port, _publish)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
