"""A WebSocket client that misbehaves: over a bare socket, reading only when and as fast as a test says.

Nothing happens by itself: no reading, no pong, no close echo, until `read_frame`, `read_all` or `start_reading`.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.kit.netns import socket_in
from tests.kit.record import Closed, Message, Received, Record, parse

__all__ = ["End", "Frame", "HandshakeRefused", "Opcode", "RawClient", "frame_bytes", "take_frame"]

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_CHUNK_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_PACE_S = 0.05


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class End(Enum):
    """Why no frame came."""

    EOF = "the server ended its side in order"
    RESET = "the connection was reset"
    SILENCE = "nothing more came in the time given"


@dataclass(frozen=True)
class Frame:
    """One frame as it came."""

    opcode: int
    payload: bytes
    fin: bool = True
    reserved: int = 0
    """The three reserved bits."""
    masked: bool = False
    received_s: float = 0.0
    """time.monotonic() when its last byte was read"""

    def json(self) -> Any:
        """The payload, parsed."""
        return json.loads(self.payload)


class HandshakeRefused(Exception):
    """The server did not switch protocols."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:500]!r}")
        self.status = status
        self.headers = headers
        """Names in lower case."""
        self.body = body


def frame_bytes(
    payload: bytes | str,
    opcode: int = Opcode.TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    declared_length: int | None = None,
) -> bytes:
    """A frame for a server, right or wrong. `declared_length`: the length to claim instead of the true one."""
    data = payload.encode() if isinstance(payload, str) else payload
    length = len(data) if declared_length is None else declared_length
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", mask_bit | 126, length)
    else:
        head += struct.pack("!BQ", mask_bit | 127, length)
    if not masked:
        return head + data
    mask = os.urandom(4)
    repeated = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "big")
    return head + mask + (int.from_bytes(data, "big") ^ repeated).to_bytes(len(data), "big")


def take_frame(buffer: bytes | bytearray, received_s: float = 0.0) -> tuple[Frame, int] | None:
    """The frame that a buffer begins with, and its length; None: it is not complete yet."""
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    length, at = second & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(buffer) < at + size:
            return None
        length = int.from_bytes(buffer[at : at + size], "big")
        at += size
    masked = bool(second & 0x80)
    mask = bytes(buffer[at : at + 4]) if masked else b""
    at += len(mask)
    if len(buffer) < at + length or (masked and len(mask) < 4):
        return None
    payload = bytes(buffer[at : at + length])
    if masked:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 7, masked, received_s), at + length


class RawClient:
    """One connection. Every text message that is read goes into `history`, as with a Recorder.

    Make it with `open` (through the handshake) or `open_tcp` (before it). One task may read at a time, and one send.
    """

    def __init__(self, plain: socket.socket, tls: ssl.SSLContext | None, server_name: str) -> None:
        self.record = Record()
        self.bytes_read = 0
        """From the socket, TLS and frame headers included."""
        self.end: End | None = None
        """How reading ended; None: it has not."""
        self.answers_pings = True
        """Whether a ping that is read is answered, and a close frame echoed."""
        self.headers: dict[str, str] = {}
        """Of the handshake's answer, names in lower case."""
        self._socket = plain
        self._buffer = bytearray()
        self._message = bytearray()
        self._reader: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = None if tls is None else tls.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    @classmethod
    async def open_tcp(
        cls,
        host: str,
        port: int,
        *,
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
        namespace: str | None = None,
        within_s: float = 5.0,
    ) -> Self:
        """Connects, through the TLS handshake if `tls` is given, and says nothing. OSError, TimeoutError: it cannot.

        `receive_buffer_bytes`: SO_RCVBUF, set before connecting so that the window is small from the start (the kernel
        doubles it); None: the kernel's choice, which grows.
        """
        plain = socket_in(namespace)
        try:
            plain.setblocking(False)
            if receive_buffer_bytes is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            client = cls(plain, tls, host)
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().sock_connect(plain, (host, port))
                await client._shake_hands()
        except BaseException:
            plain.close()
            raise
        return client

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        namespace: str | None = None,
        within_s: float = 5.0,
    ) -> Self:
        """Connects and upgrades. `headers` replace or add to those of the request; wss: needs `tls`.

        HandshakeRefused: another answer than 101. OSError, TimeoutError: no answer.
        """
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert (parts.scheme == "wss") is (tls is not None), "wss:// goes with tls=, ws:// without"
        port = parts.port or (443 if tls else 80)
        client = await cls.open_tcp(
            parts.hostname,
            port,
            receive_buffer_bytes=receive_buffer_bytes,
            tls=tls,
            namespace=namespace,
            within_s=within_s,
        )
        try:
            async with asyncio.timeout(within_s):
                target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                await client._upgrade(target, f"{parts.hostname}:{port}", headers or {})
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def history(self) -> list[Received]:
        """Every text message read so far."""
        return self.record.history

    @property
    def closed(self) -> Closed | None:
        """The close frame that was read, or 1006 when reading ended without one; None: neither."""
        return self.record.closed

    def mark(self) -> int:
        """Where the history ends now, for `since`."""
        return self.record.mark()

    def of_type(self, message_type: str, *, since: int = 0) -> list[Message]:
        """The messages of one type, from index `since` on."""
        return self.record.of_type(message_type, since=since)

    async def wait_for(
        self, wanted: str | Callable[[Message], bool], *, within_s: float = 5.0, since: int = 0
    ) -> Received:
        """See Record.wait_for; something must be reading."""
        return await self.record.wait_for(wanted, within_s=within_s, since=since)

    async def wait_closed(self, *, within_s: float = 5.0) -> Closed:
        """See Record.wait_closed; something must be reading."""
        return await self.record.wait_closed(within_s=within_s)

    # ---- sending

    async def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are. OSError: the connection is gone. Waits while the server does not read."""
        async with self._writing:
            if self._tls is None:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
                return
            self._tls.write(data)
            await self._flush()

    async def send_frame(self, payload: bytes | str, opcode: int = Opcode.TEXT, **how: Any) -> None:
        """Sends one frame; `how` as of `frame_bytes`."""
        await self.send_bytes(frame_bytes(payload, opcode, **how))

    async def send(self, message: Message) -> None:
        """Sends an object as JSON in one frame."""
        await self.send_frame(json.dumps(message))

    # ---- reading

    async def read_frame(self, *, within_s: float = 5.0) -> Frame | End:
        """The next frame, or why there is none: it never raises. After an End that is not SILENCE nothing follows."""
        deadline_s = time.monotonic() + within_s
        while (taken := take_frame(self._buffer, time.monotonic())) is None:
            if self.end is not None:
                return self.end
            try:
                async with asyncio.timeout(deadline_s - time.monotonic()):
                    await self._fill(_CHUNK_BYTES)
            except TimeoutError:
                return End.SILENCE
        frame, length = taken
        del self._buffer[:length]
        await self._took(frame)
        return frame

    async def read_all(self, *, within_s: float = 5.0) -> tuple[list[Frame], End]:
        """Every frame until the connection ends, or until nothing came for `within_s`."""
        frames: list[Frame] = []
        while isinstance(frame := await self.read_frame(within_s=within_s), Frame):
            frames.append(frame)
        return frames, frame

    def start_reading(self, bytes_per_s: float | None = None) -> None:
        """Reads in the background into `history` from now on, at most so fast; None: as fast as it can."""
        assert self._reader is None, "it reads already"
        self._reader = asyncio.create_task(self._read_on(bytes_per_s), name="raw client's reader")

    async def stop_reading(self) -> None:
        """Reads no more: what the server sends from now on fills buffers. Without a reader this does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])
            if not reader.cancelled() and (error := reader.exception()) is not None:
                raise error

    # ---- ending

    def half_close(self) -> None:
        """Sends FIN: nothing more will be sent; reading goes on. (Over TLS, without close_notify.)"""
        self._socket.shutdown(socket.SHUT_WR)

    async def reset(self) -> None:
        """Vanishes with a RST."""
        await self.stop_reading()
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def close(self) -> None:
        """Closes the socket, without a close frame. Closing twice is allowed."""
        await self.stop_reading()
        self._socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside

    async def _upgrade(self, target: str, host: str, headers: Mapping[str, str]) -> None:
        key = base64.b64encode(os.urandom(16))
        fields = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode(),
            "Sec-WebSocket-Version": "13",
        } | dict(headers)
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        await self.send_bytes("\r\n".join(lines).encode())
        status = await self._read_head()
        if status != 101:
            length = int(self.headers.get("content-length", "0"))
            while len(self._buffer) < length and self.end is None:
                await self._fill(_CHUNK_BYTES)
            raise HandshakeRefused(status, self.headers, bytes(self._buffer[:length]))
        expected = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID).digest())  # noqa: S324 - RFC 6455 says SHA-1
        if self.headers.get("sec-websocket-accept") != expected.decode():
            raise HandshakeRefused(status, self.headers, b"wrong Sec-WebSocket-Accept")

    async def _read_head(self) -> int:
        while (stop := self._buffer.find(b"\r\n\r\n")) < 0:
            if self.end is not None or len(self._buffer) > _MAX_HEAD_BYTES:
                raise ConnectionError(f"no HTTP answer ({self.end}): {bytes(self._buffer[:200])!r}")
            await self._fill(_CHUNK_BYTES)
        first, *lines = self._buffer[:stop].decode("latin-1").split("\r\n")
        del self._buffer[: stop + 4]
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        return int(first.split()[1])

    async def _took(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION):
            self._message += frame.payload
            if frame.fin:
                text = bytes(self._message).decode(errors="backslashreplace")
                self._message.clear()
                self.record.append(parse(text))
        elif frame.opcode == Opcode.CLOSE:
            code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) >= 2 else 1005
            self.record.close(code, frame.payload[2:].decode(errors="replace"))
            await self._reply(frame.payload[:2], Opcode.CLOSE)
        elif frame.opcode == Opcode.PING:
            await self._reply(frame.payload, Opcode.PONG)

    async def _reply(self, payload: bytes, opcode: Opcode) -> None:
        if self.answers_pings:
            try:
                await self.send_frame(payload, opcode)
            except (OSError, ssl.SSLError):
                pass  # the server is gone; reading on finds that

    async def _read_on(self, bytes_per_s: float | None) -> None:
        limit = _CHUNK_BYTES if bytes_per_s is None else max(1, int(bytes_per_s * _PACE_S))
        while self.end is None:
            count = await self._fill(limit)
            while (taken := take_frame(self._buffer, time.monotonic())) is not None:
                del self._buffer[: taken[1]]
                await self._took(taken[0])
            if bytes_per_s is not None:
                await asyncio.sleep(count / bytes_per_s)

    async def _fill(self, limit: int) -> int:
        """Reads at most `limit` bytes from the socket into the buffer; gives how many, 0 at the end."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, limit)
        except OSError:
            return self._ended(End.RESET)
        self.bytes_read += len(data)
        if not data:
            return self._ended(End.EOF)
        if self._tls is None:
            self._buffer += data
            return len(data)
        self._incoming.write(data)
        try:
            while plain := self._tls.read(_CHUNK_BYTES):
                self._buffer += plain
            self._ended(End.EOF)  # close_notify
        except ssl.SSLWantReadError:
            pass
        return len(data)

    def _ended(self, how: End) -> int:
        self.end = how
        self.record.close(1006, how.value)
        return 0

    async def _shake_hands(self) -> None:
        if self._tls is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await loop.sock_recv(self._socket, _CHUNK_BYTES)
                if not data:
                    raise ConnectionError("the server hung up during the TLS handshake") from None
                self._incoming.write(data)
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
