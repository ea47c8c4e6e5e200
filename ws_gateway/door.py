"""Takes connections in, and sees to it that descriptors do not run out: the last ones are kept for telling clients so.

asyncio's own server tries again a thousand times in a row when there are none, with a line in the log each time.
"""

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Callable

import structlog

__all__ = ["Door", "raise_descriptor_limit"]

log = structlog.get_logger()

_KEPT_FOR_REFUSALS = 32
"""Whoever gets one of the last descriptors is told that there is no room, and gives it back."""
_KEPT_FOR_OURSELVES = 8
"""Connections that say nothing do not get these: the stream from the bridge may have to be opened anew."""
_RETRY_S = 0.1
_AT_ONCE = 64
"""Connections taken in before others get their turn."""
_COMPLAIN_S = 10.0


def raise_descriptor_limit() -> int:
    """Takes as many descriptors as the system allows; gives for how many clients they are enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # some systems allow less than they say
            log.warning("descriptor_limit_not_raised", soft=soft, hard=hard, error=str(error))
    return _limit() - _KEPT_FOR_REFUSALS


class Door:
    """Where clients come in."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
        *,
        handshake_s: float = 10.0,
        send_buffer_bytes: int | None = None,
    ) -> None:
        """`listener` listens and does not block; it stays the caller's. `tls`: gives the context for the next one who
        comes; None: no TLS. `handshake_s`: how long its handshake may take; asyncio would wait a minute.
        `send_buffer_bytes`: SO_SNDBUF of each connection; None: the listener's, which TCP sockets inherit."""
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._handshake_s = handshake_s
        self._send_buffer_bytes = send_buffer_bytes
        self._complained_at_s = -_COMPLAIN_S
        self.turned_away = 0
        """Connections closed at once, for want of descriptors."""

    @staticmethod
    def is_narrow(transport: asyncio.BaseTransport | None) -> bool:
        """Whether this connection has one of the last descriptors, so that it had better not stay."""
        sock = None if transport is None else transport.get_extra_info("socket")
        # the kernel gives out the lowest number that is free
        return sock is not None and sock.fileno() >= _limit() - _KEPT_FOR_REFUSALS

    async def run(self) -> None:
        """Takes in whoever comes, until it is cancelled."""
        async with asyncio.TaskGroup() as arriving:
            while True:
                await self._someone_waits()
                for _ in range(_AT_ONCE):
                    try:
                        connection, _peer = self._listener.accept()
                    except BlockingIOError:
                        break  # that was all of them
                    except ConnectionError:
                        continue  # it went away while it waited
                    except OSError as error:
                        # EMFILE, ENFILE, ENOBUFS, ENOMEM: those who wait stay in the queue
                        self._complain("cannot_accept", error=error.strerror)
                        await asyncio.sleep(_RETRY_S)
                        break
                    connection.setblocking(False)
                    if connection.fileno() >= _limit() - _KEPT_FOR_OURSELVES:
                        connection.close()
                        self.turned_away += 1
                        self._complain("descriptors_ran_out", limit=_limit(), turned_away=self.turned_away)
                        continue
                    arriving.create_task(self._take_in(connection), name="arriving")

    async def _someone_waits(self) -> None:
        """Returns once somebody is in the listener's queue.

        `loop.sock_accept` would do, but if it is cancelled in the moment in which somebody comes, that one is lost and
        the log has a traceback.
        """
        loop = asyncio.get_running_loop()
        comes = asyncio.Event()
        loop.add_reader(self._listener, comes.set)
        try:
            await comes.wait()
        finally:
            loop.remove_reader(self._listener)

    async def _take_in(self, connection: socket.socket) -> None:
        try:
            if self._send_buffer_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=None if self._tls is None else self._tls(),
                ssl_handshake_timeout=None if self._tls is None else self._handshake_s,
            )
        except OSError as error:  # of ssl too
            log.debug("handshake_failed", error=str(error))
            connection.close()

    def _complain(self, event: str, **details: object) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_at_s >= _COMPLAIN_S:
            self._complained_at_s = now_s
            log.error(event, **details)


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
