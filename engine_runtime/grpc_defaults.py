"""The gRPC options that every server and channel of ours has, and binding a port with a clear error."""

import grpc
import grpc.aio

from engine_runtime.process import StartupError

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "bind"]


# Without so_reuseport 0 two servers share a port silently; without bdp_probe 0 a reader that stopped lets the server
# write 4.5 MB before it notices; pings more often than every 10 s are a misbehaving client.
SERVER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),
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
# a frozen peer is noticed only if ping_timeout_ms is set beside the keepalive time-out.
CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def bind(server: grpc.aio.Server, address: str) -> int:
    """Listens on `HOST:PORT` in the clear; gives the port (useful when PORT is 0). StartupError: not available."""
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise StartupError(f"cannot listen on {address}: the port is in use or the address is not this machine's")
    return port
