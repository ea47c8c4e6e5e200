"""The two ways in which an event goes out: as a WebSocket frame, and as a Server-Sent Event."""

from typing import Protocol

from ws_gateway.encode import Encoded, text_frame

__all__ = ["SSE", "WEBSOCKET", "Wire", "close_frame"]


def close_frame(code: int, reason: str) -> bytes:
    """A WebSocket's last word (RFC 6455, 5.5.1). `reason`: at most 123 bytes."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload


class Wire(Protocol):
    """The bytes of messages on one kind of connection."""

    ping: bytes
    """What keeps a quiet connection alive and is seen by no application."""

    def live(self, event: Encoded, epoch: str) -> bytes: ...

    def snapshot(self, event: Encoded, epoch: str) -> bytes: ...

    def stale(self, event: Encoded, timestamp_s: float) -> bytes: ...

    def message(self, type: str, json: bytes, position: str = "") -> bytes:
        """A message of the gateway's own. `position`: where the client stands with it; empty: where it stood before."""
        ...


class _WebSocket:
    ping = b"\x89\x00"  # RFC 6455, 5.5.2: FIN, opcode 9, no payload

    def live(self, event: Encoded, epoch: str) -> bytes:
        return event.frame

    def snapshot(self, event: Encoded, epoch: str) -> bytes:
        return event.snapshot_frame

    def stale(self, event: Encoded, timestamp_s: float) -> bytes:
        return event.stale_frame(timestamp_s)

    def message(self, type: str, json: bytes, position: str = "") -> bytes:
        return text_frame(json)


class _Sse:
    """Each event is one HTTP chunk, so that its bytes, like a frame's, are whole and fit every client."""

    ping = b"3\r\n:\n\n\r\n"  # a comment line, which EventSource ignores

    def live(self, event: Encoded, epoch: str) -> bytes:
        return _chunk(event.sse(epoch))

    def snapshot(self, event: Encoded, epoch: str) -> bytes:
        return _chunk(event.snapshot_sse())

    def stale(self, event: Encoded, timestamp_s: float) -> bytes:
        return _chunk(event.stale_sse(timestamp_s))

    def message(self, type: str, json: bytes, position: str = "") -> bytes:
        identity = f"id: {position}\n" if position else ""
        return _chunk(b"%bevent: %b\ndata: %b\n\n" % (identity.encode(), type.encode(), json))


def _chunk(data: bytes) -> bytes:
    """RFC 9112, 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


WEBSOCKET: Wire = _WebSocket()
SSE: Wire = _Sse()
