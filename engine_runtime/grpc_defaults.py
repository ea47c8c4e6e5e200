"""The gRPC options that every server and channel of ours has, and listening with a clear error."""

import socket

import grpc
import grpc.aio

from engine_runtime.addresses import split_address, unix_path
from engine_runtime.process import StartupError
from engine_runtime.tls import Pems, TlsFiles, pems
from engine_runtime.unix_sockets import claimed

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


def bind(server: grpc.aio.Server, address: str, tls: TlsFiles | None = None) -> int:
    """Listens on `HOST:PORT` or `unix:PATH`; gives the port (useful when PORT is 0). `tls` None, or without a
    certificate: in the clear; otherwise each new connection is shown what is in the files then. StartupError: not
    available, or the files cannot be used."""
    tls = None if tls is None or tls.certificate is None else tls
    path = unix_path(address)
    if path is not None:
        with claimed(path):
            return _add_port(server, address, None, f"cannot listen on {address}: the folder is not there or not ours")
    taken = f"cannot listen on {address}: the port is in use or the address is not this machine's"
    credentials = None if tls is None else _credentials(tls)
    if not _is_free(address):
        raise StartupError(taken)
    return _add_port(
        server, address, credentials, taken if tls is None else f"{taken}, or gRPC refuses the certificate"
    )


def _add_port(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None, otherwise: str) -> int:
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise StartupError(otherwise)
    return port


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    files = pems(tls)
    given = files.value()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Asked by a thread of gRPC's before each handshake; None: no change."""
        nonlocal given
        now = files.value()
        if now is given:
            return None
        given = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        fetch,  # type: ignore[arg-type]  # its type stubs leave None out
        require_client_authentication=tls.authority is not None,
    )


def _configuration(content: Pems) -> grpc.ServerCertificateConfiguration:
    pair = (content.key or b"", content.certificate or b"")  # a server has both
    return grpc.ssl_server_certificate_configuration([pair], content.authority)


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
