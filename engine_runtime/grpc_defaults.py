"""The gRPC options that every server and channel of ours has, and binding a port with a clear error."""

import socket

import grpc
import grpc.aio

from engine_runtime.process import StartupError
from engine_runtime.settings import split_address

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "bind"]


# Without so_reuseport 0 two servers share a port silently; without bdp_probe 0 a reader that stopped lets the server
# write 4.5 MB before it notices; pings more often than every 10 s are a misbehaving client. Channelz, which nobody asks
# here, remembers connections that are gone.
SERVER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.enable_channelz", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

# http_proxy is honoured even for 127.0.0.1 unless switched off; the default reconnect backoff grows to two minutes;
# a frozen peer is noticed only if ping_timeout_ms is set beside the keepalive time-out. The wait for the connection and
# the wait for the next probe (1 s) add up, and a peer that returns is to be fresh within 2 s.
CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_channelz", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
]


def bind(server: grpc.aio.Server, address: str) -> int:
    """Listens on `HOST:PORT` in the clear; gives the port (useful when PORT is 0). StartupError: not available."""
    if not _is_free(address):
        raise _not_available(address)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise _not_available(address)
    return port


def _is_free(address: str) -> bool:
    """Asked before gRPC is, which would write its own two lines to standard error."""
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    # one is enough: `localhost` may stand for an IPv6 address that this machine does not have
    return any(_can_bind(family, place) for family, _, _, _, place in found)


def _can_bind(family: int, place: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError:
        return False
    return True


def _not_available(address: str) -> StartupError:
    return StartupError(f"cannot listen on {address}: the port is in use or the address is not this machine's")
