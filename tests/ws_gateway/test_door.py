"""Who is let in, over real sockets. What happens when descriptors run out is in tests/faults."""

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trustme

from ws_gateway.door import Door, raise_descriptor_limit


class Greeter(asyncio.Protocol):
    """Says hello and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@contextmanager
def listening() -> Iterator[socket.socket]:
    """What a door wants: it listens and does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@asynccontextmanager
async def opened(
    protocol: Callable[[], asyncio.Protocol] = Greeter, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A door that lets in, and its port."""
    with listening() as listener:
        running = asyncio.create_task(Door(listener, protocol, None if tls is None else lambda: tls).run())
        try:
            yield listener.getsockname()[1]
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), f"it ended by itself: {running}"


async def greeting(port: int, tls: ssl.SSLContext | None = None) -> bytes:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said


async def test_everybody_is_let_in() -> None:
    """More at once than it takes in at one go."""
    async with opened() as port:
        assert await asyncio.gather(*(greeting(port) for _ in range(100))) == [b"hello"] * 100


async def test_connection_that_went_away_while_it_waited_harms_nobody() -> None:
    async with opened() as port:
        for _ in range(5):
            gone = socket.socket()
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            gone.connect(("127.0.0.1", port))
            gone.close()
        assert await greeting(port) == b"hello"


async def test_handshake_that_fails_harms_nobody() -> None:
    """Neither one that is no TLS, nor one that says nothing."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with opened(tls=server) as port:
        with socket.create_connection(("127.0.0.1", port)) as silent:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
            assert await greeting(port, client) == b"hello"
            assert silent.fileno() > 0


async def test_who_comes_in_the_moment_of_the_end_stays_in_the_queue() -> None:
    """The listener is found readable, and before it is looked at the door is closed: nothing fails, nobody is lost."""
    loop = asyncio.get_running_loop()
    failures: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, failure: failures.append(failure))
    with listening() as listener, socket.socket() as client:
        running = asyncio.create_task(Door(listener, Greeter, None).run())
        await asyncio.sleep(0)
        client.connect(listener.getsockname())
        loop.call_soon(running.cancel)  # it runs after the loop has looked at the listener, and before the door can
        await asyncio.wait([running])
        with listener.accept()[0] as waiting:
            assert waiting.getpeername() == client.getsockname()
    assert (running.cancelled(), failures) == (True, [])


async def test_connection_is_narrow_when_its_descriptor_is_one_of_the_last() -> None:
    found: list[bool] = []

    class Looker(Greeter):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            descriptor = transport.get_extra_info("socket").fileno()
            for limit in (descriptor + 100, descriptor + 33, descriptor + 32):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                found.append(Door.is_narrow(transport))
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            super().connection_made(transport)

    async with opened(Looker) as port:
        await greeting(port)
    assert found == [False, False, True]
    assert Door.is_narrow(None) is False


def test_limit_is_raised_to_what_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        assert raise_descriptor_limit() == hard - 32
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("free", [8, 7])
async def test_last_descriptors_are_not_given_away(free: int) -> None:
    """Who gets one of these is turned away at once."""
    with listening() as listener:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        door = Door(listener, Greeter, None)
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        with socket.socket() as next_one:
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_one.fileno() + free + 1, hard))
            lowest = next_one.fileno()
        running = asyncio.create_task(door.run())
        try:
            async with asyncio.timeout(5):
                said = await asyncio.get_running_loop().sock_recv(client, 10)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            running.cancel()
            await asyncio.wait([running])
            client.close()
        assert lowest > 0
        assert (said, door.turned_away) == ((b"hello", 0) if free == 8 else (b"", 1))
