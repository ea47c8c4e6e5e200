"""The socket on which the gateway listens: TCP, or a Unix socket for a proxy on the same machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from engine_runtime.addresses import split_address, unix_path
from engine_runtime.process import StartupError
from engine_runtime.unix_sockets import claimed, identity, release

__all__ = ["listening", "own_send_buffer_bytes"]

_BACKLOG = 4096
"""Handshakes that may wait: a client whose first packet finds no room tries again only a second later."""
_RECEIVE_BUFFER_BYTES = 16 << 10
"""SO_RCVBUF, which Linux doubles: about so much of what one client sends is read, and parsed without a pause. Otherwise
it is up to 256 KiB at a time, and of the smallest frames that is 40,000 and a stop of 20 ms for everybody else."""
_UNIX_SHARE = 8
"""On a Unix socket no acknowledgement tells how far the other end has read: it is seen to read only once it has read
twice SO_SNDBUF (Linux doubles it, and fills it with pieces of half of that). At 8 KiB whoever reads 0.6 KB/s has done
that before the 30 s are over after which it is cut; at 64 KiB only who reads 4.4 KB/s."""


@contextmanager
def listening(address: str, send_buffer_bytes: int) -> Iterator[socket.socket]:
    """A socket that listens on `HOST:PORT` or `unix:PATH`, and does not block. The file of a Unix socket is made with
    mode 0660, and removed at the end. StartupError: it cannot listen."""
    path = unix_path(address)
    if path is None:
        with _tcp(address, send_buffer_bytes) as listener:
            yield listener
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with claimed(path):
            _bind(listener, str(path), address)
            bound = identity(path)
        try:
            yield listener
        finally:
            release(path, bound)


def own_send_buffer_bytes(address: str, send_buffer_bytes: int) -> int | None:
    """SO_SNDBUF for each connection that comes in there. None: it inherits the listener's."""
    return None if unix_path(address) is None else max(1, send_buffer_bytes // _UNIX_SHARE)


def _tcp(address: str, send_buffer_bytes: int) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # accepted sockets inherit these
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    try:
        _bind(listener, (host, port), address)
    except StartupError:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, place: tuple[str, int] | str, address: str) -> None:
    try:
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise StartupError(f"cannot listen on {address}: {error.strerror}") from None
    listener.setblocking(False)
