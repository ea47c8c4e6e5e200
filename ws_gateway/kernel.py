"""What the kernel knows of a connection and the transport does not: whether its other end still answers, and reads.

TCP_USER_TIMEOUT would not do: it also ends the connection of a client that answers but reads slowly.
"""

import asyncio
import socket
import struct
from typing import NamedTuple

__all__ = ["Acknowledged", "acknowledged"]

# struct tcp_info of linux/tcp.h, since Linux 4.1: retransmits, probes, last_ack_recv (ms), bytes_acked
_TCP_INFO = struct.Struct("=2xBB52xI60xQ")


class Acknowledged(NamedTuple):
    """How far the other end has acknowledged what was sent."""

    received_bytes: int
    """So much of all that was sent has arrived; a client whose buffers are full must read before this grows."""
    unanswered: bool
    """What was sent last had to be sent again, and there was no answer to that either."""
    silent_s: float
    """Since anything came from the other end's kernel, seconds."""


def acknowledged(transport: asyncio.Transport) -> Acknowledged | None:
    """None: the connection is gone, or not one of the kernel's."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    if len(info) < _TCP_INFO.size:
        return None
    retransmits, probes, silent_ms, acked_bytes = _TCP_INFO.unpack(info)
    return Acknowledged(acked_bytes, retransmits > 0 or probes > 0, silent_ms / 1000)
