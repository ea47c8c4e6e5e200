"""Namespaces are joined, cut without a trace, healed, and cleaned up."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.kit import netns
from tests.kit.client import get
from tests.kit.netns import Network, Place, socket_in

pytestmark = pytest.mark.netns


@pytest.fixture
def network() -> Iterator[Network]:
    with Network("a", "b") as made:
        yield made


class Pair:
    """A connection from namespace a to a listener in b."""

    def __init__(self, network: Network) -> None:
        self._loop = asyncio.get_running_loop()
        self.listener = socket_in(network.namespace("b"))
        self.listener.bind((network.address("b"), 4000))
        self.listener.listen()
        self.listener.setblocking(False)
        self.client = socket_in(network.namespace("a"))
        self.client.setblocking(False)
        self.server = self.client

    async def connect(self, network: Network) -> None:
        async with asyncio.timeout(5):
            await self._loop.sock_connect(self.client, (network.address("b"), 4000))
            self.server, _ = await self._loop.sock_accept(self.listener)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.client, data)

    async def received(self, within_s: float) -> bytes:
        async with asyncio.timeout(within_s):
            return await self._loop.sock_recv(self.server, 100)


@pytest.fixture
async def pair(network: Network) -> AsyncIterator[Pair]:
    made = Pair(network)
    await made.connect(network)
    yield made
    for each in (made.listener, made.client, made.server):
        each.close()


async def new_connection(network: Network, within_s: float) -> str:
    """What comes of a new connection from a to b."""
    with socket_in(network.namespace("a")) as made:
        made.setblocking(False)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().sock_connect(made, (network.address("b"), 4000))
        except TimeoutError:
            return "silence"
        except OSError as error:
            return type(error).__name__
        return "connected"


async def test_namespaces_reach_each_other(network: Network, pair: Pair) -> None:
    """Each by the other's address; a port without a listener is refused as anywhere; loopback is each one's own."""
    await pair.send(b"hello")
    assert await pair.received(5) == b"hello"
    pair.listener.close()
    assert await new_connection(network, 5) == "ConnectionRefusedError"
    assert network.place("b") == Place("10.99.0.2", network.namespace("b"))
    assert network.place("b", "127.0.0.1").host == "127.0.0.1"


def make_arp_impatient(namespace: str) -> None:
    settings = [f"net.ipv4.neigh.eth0.{setting}" for setting in ("retrans_time_ms=100", "delay_first_probe_time=0")]
    subprocess.run(["ip", "netns", "exec", namespace, "sysctl", "-qw", *settings], check=True)


@pytest.mark.parametrize("name", ["a", "b"])
async def test_blackhole_is_pure_silence_for_both_ends(network: Network, pair: Pair, name: str) -> None:
    """No reset, no ICMP, no failing ARP: neither an open connection nor a new one learns anything, at either end's cut.

    ARP's patience is cut to 0.3 s here; where the kernel depended on it, the new connection would fail within that.
    """
    make_arp_impatient(network.namespace("a"))
    network.blackhole(name)
    await pair.send(b"into the void")
    with pytest.raises(TimeoutError):
        await pair.received(0.5)
    assert await new_connection(network, 1.0) == "silence"
    assert pair.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    network.heal(name)
    assert await pair.received(10) == b"into the void"
    assert await new_connection(network, 5) == "connected"


async def test_unplugged_cable_is_noticed_and_plugged_again(network: Network, pair: Pair) -> None:
    """Carrier is lost where it was pulled; what was sent arrives when it is back."""
    network.unplug("b")
    await pair.send(b"late")
    with pytest.raises(TimeoutError):
        await pair.received(0.2)
    network.plug("b")
    assert await pair.received(10) == b"late"


async def test_clients_can_connect_from_inside(network: Network) -> None:
    """HTTP from within a namespace, to its own loopback."""
    with socket_in(network.namespace("a")) as listener:
        listener.bind(("127.0.0.1", 0))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, sock=listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert (await get(url, namespace=network.namespace("a"))).text == "ok"
        server.close()


def test_network_is_gone_afterwards() -> None:
    """Also when it is left by a failure."""
    made = Network("x")

    def use() -> None:
        with made:
            assert made.namespace("x") in listed()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert made.namespace("") not in listed()


def test_leftovers_of_the_dead_are_swept() -> None:
    """A namespace of a process that is gone goes; one of a living process stays."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    dead = f"kit-{process.pid}-1-left"
    subprocess.run(["ip", "netns", "add", dead], check=True)
    with Network("y") as mine:
        assert dead not in listed()
        assert netns.sweep() == []
        assert mine.namespace("y") in listed()


def test_socket_of_no_namespace_is_refused() -> None:
    """A misspelled name is an error, not a socket of this one."""
    with pytest.raises(FileNotFoundError):
        socket_in("kit-no-such-namespace")


def listed() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
