"""What the kernel tells of the other end, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.kit.waiting import until
from tests.ws_gateway.fakes import RecordingTransport
from ws_gateway.kernel import acknowledged

ROOM_BYTES = 8192


class Pair:
    """A transport, and the bare socket at the other end, which has little room and is read by nobody."""

    def __init__(self, transport: asyncio.Transport, other: socket.socket) -> None:
        self.transport = transport
        self.other = other

    def received_bytes(self) -> int:
        heard = acknowledged(self.transport)
        assert heard is not None
        return heard.received_bytes


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with socket.socket() as listener, socket.socket() as other:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
        other.connect(listener.getsockname())
        accepted, _ = listener.accept()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, accepted)
        yield Pair(transport, other)
        transport.abort()


async def test_what_has_arrived_counts(pair: Pair) -> None:
    before = pair.received_bytes()
    pair.transport.write(b"x" * 100)
    await until(lambda: pair.received_bytes() - before == 100, within_s=1, what="100 bytes are acknowledged")


async def test_count_stands_still_while_nobody_reads_and_goes_on_when_somebody_does(pair: Pair) -> None:
    """However little is read, long before the transport's own buffer gets any smaller."""
    pair.transport.write(b"x" * 10_000_000)
    await asyncio.sleep(0.3)  # the buffers of both kernels fill
    stuck, buffered = pair.received_bytes(), pair.transport.get_write_buffer_size()
    await asyncio.sleep(0.3)
    assert pair.received_bytes() == stuck
    pair.other.recv(ROOM_BYTES)
    await until(lambda: pair.received_bytes() > stuck, within_s=2, what="more is acknowledged")
    assert pair.transport.get_write_buffer_size() == buffered


async def test_other_end_that_does_not_read_answers_all_the_same(pair: Pair) -> None:
    """It is slow, not gone."""
    pair.transport.write(b"x" * 10_000_000)
    for _ in range(10):
        await asyncio.sleep(0.05)
        heard = acknowledged(pair.transport)
        assert heard is not None
        if not heard.unanswered:
            return
    raise AssertionError("every look found it silent")


async def test_connection_that_is_gone_tells_nothing(pair: Pair) -> None:
    pair.transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert acknowledged(pair.transport) is None


async def test_unix_socket_tells_nothing() -> None:
    """TCP alone acknowledges."""
    ours, other = socket.socketpair(socket.AF_UNIX)
    with other:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        assert acknowledged(transport) is None
        transport.abort()


def test_transport_without_a_socket_tells_nothing() -> None:
    assert acknowledged(RecordingTransport()) is None
