"""The events of all measurements: numbered, stamped, of one size on the WebSocket."""

from datetime import UTC, datetime

__all__ = ["EVENT_BYTES", "mark", "message", "padded"]

EVENT_BYTES = 300
"""What one event takes in a text frame, the frame's own four bytes not counted."""

_FILL = "the quick brown fox jumps over the lazy dog; " * 200


def mark(number: int, stamp_ns: int) -> str:
    """What the load client looks for: the event's number, and when it was made, CLOCK_MONOTONIC."""
    return f"~{number:010d}:{stamp_ns:019d}"


def padded(number: int, stamp_ns: int, length: int) -> str:
    """A text of so many characters that begins with the mark."""
    text = mark(number, stamp_ns)
    return text + " " + _FILL[: length - len(text) - 1]


def message(number: int, stamp_ns: int, size_bytes: int = EVENT_BYTES) -> bytes:
    """The event as the gateway would send it, for peers: they are given the finished JSON and need only pass it on."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f'{{"type":"notification","timestamp":"{time}","seq":{number},"data":{{"message":"'
    tail = f'","level":"info","source":"bench","timestamp":{stamp_ns / 1e9:.6f}}}}}'
    return (head + padded(number, stamp_ns, size_bytes - len(head) - len(tail)) + tail).encode()
