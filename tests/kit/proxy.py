"""A TCP proxy that does to connections what networks do, changeable while they run, each direction for itself."""

import asyncio
import socket
import struct
import time
from types import TracebackType
from typing import Literal, Self

from tests.kit.program import free_port

__all__ = ["Direction", "Proxy"]

_CHUNK_BYTES = 16 * 1024
_IN_FLIGHT_CHUNKS = 16  # what a slow link holds: 256 KiB, then its sender is held up


class Direction:
    """What happens to the bytes of one direction, of every connection. Set the fields at any time."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        """Each byte arrives so much later; this does not lower the throughput (up to 256 KiB are on their way)."""
        self.rate_bytes_per_s: float | None = None
        """At most so many a second, of each connection; None: no limit."""
        self.forwarded_bytes = 0
        """So far, over all connections."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut_at: int | None = None
        self._every_connection = False

    @property
    def is_stalled(self) -> bool:
        """Whether bytes are held up."""
        return not self._flowing.is_set()

    def stall(self) -> None:
        """Nothing is read or forwarded any more; connections stay open, and the sender's buffers fill."""
        self._flowing.clear()

    def flow(self) -> None:
        """Ends a stall: what was held up arrives, none is lost."""
        self._flowing.set()

    def cut_after(self, count: int, *, every_connection: bool = False) -> None:
        """Resets the connection whose bytes make it `count` more, exactly there; then this is over.

        `every_connection`: instead each connection made from now on is reset after `count` bytes of its own.
        """
        self._every_connection = every_connection
        self._cut_at = count if every_connection else self.forwarded_bytes + count

    def heal(self) -> None:
        """Everything normal again."""
        self.latency_s = 0.0
        self.rate_bytes_per_s = None
        self._cut_at = None
        self.flow()

    def _allowance(self, connection_bytes: int) -> int | None:
        """How many bytes may still pass before the cut; None: no cut is set."""
        if self._cut_at is None:
            return None
        return max(0, self._cut_at - (connection_bytes if self._every_connection else self.forwarded_bytes))

    def _was_cut(self) -> None:
        if not self._every_connection:
            self._cut_at = None


class Proxy:
    """Forwards from a port of its own to HOST:PORT; an async context manager. `up` is towards there, `down` back."""

    def __init__(self, upstream: str, *, host: str = "127.0.0.1", port: int | None = None) -> None:
        """`port` None: a free one, known at once."""
        self.upstream = upstream
        self.host = host
        self.port = port or free_port()
        self.up = Direction()
        self.down = Direction()
        self.accepted_count = 0
        """Connections that clients made, those that were reset at once included."""
        self.unreachable_count = 0
        """Of them, those for which there was nobody upstream; their clients get a reset."""
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._resets = False

    @property
    def address(self) -> str:
        """HOST:PORT that clients connect to."""
        return f"{self.host}:{self.port}"

    @property
    def open_count(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    async def start(self) -> None:
        """Listens. OSError: the port is in use."""
        self._resets = False
        if self._listener is not None:
            return
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(256)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener), name=f"proxy on {self.address}")

    async def refuse(self, how: Literal["closed", "reset"] = "closed") -> None:
        """New connections are refused ("closed": nobody listens; "reset": accepted and reset). `start` ends that."""
        if how == "reset":
            await self.start()
            self._resets = True
            return
        accepting, self._accepting = self._accepting, None
        listener, self._listener = self._listener, None
        if accepting is not None and listener is not None:
            accepting.cancel()
            await asyncio.wait([accepting])
            listener.close()

    def reset(self) -> int:
        """Resets both sides of every open connection; gives how many. New ones are taken."""
        count = len(self._links)
        for link in list(self._links):
            link.reset()
        return count

    def half_close(self, direction: Literal["up", "down"] = "down") -> None:
        """Ends one direction of every open connection with a FIN, what comes later is swallowed; the other goes on."""
        for link in list(self._links):
            link.half_close(direction)

    async def heal(self) -> None:
        """Everything normal again: no toxics, new connections taken."""
        self.up.heal()
        self.down.heal()
        await self.start()

    async def stop(self) -> None:
        """Resets what is open and listens no more. Stopping twice is allowed."""
        await self.refuse()
        tasks = [task for link in self._links for task in link.tasks]
        self.reset()
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self.accepted_count += 1
            if self._resets:
                _reset(client)
                continue
            link = _Link(self, client)
            self._links.add(link)
            link.tasks.append(asyncio.create_task(link.run(), name=f"proxied connection {self.accepted_count}"))


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._half_closed: set[socket.socket] = set()
        """What still comes for these is swallowed."""
        client.setblocking(False)

    async def run(self) -> None:
        """Connects upstream and forwards until both directions have ended."""
        loop = asyncio.get_running_loop()
        host, _, port = self._proxy.upstream.rpartition(":")
        self._server = server = socket.socket()
        server.setblocking(False)
        for each in (self._client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.sock_connect(server, (host, int(port)))
        except OSError:
            self._proxy.unreachable_count += 1
            self.reset()
            return
        try:
            async with asyncio.TaskGroup() as pumps:
                self.tasks.append(pumps.create_task(self._pump(self._client, server, self._proxy.up)))
                self.tasks.append(pumps.create_task(self._pump(server, self._client, self._proxy.down)))
        finally:
            self._forget()
            self._client.close()
            server.close()

    def reset(self) -> None:
        """RST to both sides, now."""
        for task in self.tasks:
            task.cancel()
        self._forget()
        for each in (self._client, self._server):
            if each is not None:
                _reset(each)

    def half_close(self, direction: Literal["up", "down"]) -> None:
        """FIN in one direction, now."""
        target = self._server if direction == "up" else self._client
        if target is not None:
            self._half_closed.add(target)
            _finish(target)

    def _forget(self) -> None:
        self._proxy._links.discard(self)

    async def _pump(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        """Reads into a bounded line of chunks, each with the time at which it is due at the other end."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_CHUNKS)
        loop = asyncio.get_running_loop()
        delivering = asyncio.create_task(self._deliver(line, target, direction))
        self.tasks.append(delivering)
        try:
            while True:
                await direction._flowing.wait()
                try:
                    data = await loop.sock_recv(source, _CHUNK_BYTES)
                except OSError:
                    self.reset()
                    return
                await line.put((time.monotonic() + direction.latency_s, data))
                if not data:
                    await delivering
                    return
        finally:
            delivering.cancel()

    async def _deliver(
        self, line: "asyncio.Queue[tuple[float, bytes]]", target: socket.socket, direction: Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        sent = 0
        while True:
            due_s, data = await line.get()
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await direction._flowing.wait()
            if not data:
                _finish(target)
                return
            while data and target not in self._half_closed:
                await direction._flowing.wait()
                rate = direction.rate_bytes_per_s
                piece = data if rate is None else data[: max(1, int(rate * 0.02))]
                allowance = direction._allowance(sent)
                if allowance is not None:
                    piece = piece[:allowance]
                try:
                    if piece:
                        await loop.sock_sendall(target, piece)
                except OSError:
                    self.reset()
                    return
                data = data[len(piece) :]
                sent += len(piece)
                direction.forwarded_bytes += len(piece)
                if allowance is not None and len(piece) == allowance:
                    direction._was_cut()
                    self.reset()
                    return
                if rate is not None:
                    await asyncio.sleep(len(piece) / rate)


def _finish(target: socket.socket) -> None:
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is gone already


def _reset(target: socket.socket) -> None:
    """Closes with a RST. Whoever still waits on the socket is taken off the loop first, before its number is reused."""
    if target.fileno() < 0:
        return
    loop = asyncio.get_running_loop()
    loop.remove_reader(target)
    loop.remove_writer(target)
    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    target.close()
