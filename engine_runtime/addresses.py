"""Where a program listens and where its peer is, as settings have it: HOST:PORT, a Unix socket, a URL of gRPC. Pure."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

__all__ = [
    "check_grpc_url",
    "check_listen",
    "grpc_target",
    "is_encrypted",
    "is_local",
    "is_loopback",
    "split_address",
    "unix_path",
]

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_UNIX = "unix:"
_UNIX_PATH = re.compile(r"[A-Za-z0-9._/+-]+")
"""gRPC reads `unix:PATH` as a URI, so what a URI would have to escape is left out."""
_MAX_UNIX_PATH_BYTES = 107
"""sun_path of unix(7) has 108, and ends with a zero."""


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPV6]:PORT` as (host without brackets, port). ValueError says what is wrong with it."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is not HOST:PORT")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"port {port} is above 65535")
    return match["host"].strip("[]"), port


def unix_path(address: str) -> Path | None:
    """The socket file of `unix:PATH`; None: it is another kind of address. ValueError: a path that cannot be one."""
    if not address.startswith(_UNIX):
        return None
    path = address.removeprefix(_UNIX)
    if _UNIX_PATH.fullmatch(path) is None or path.endswith("/"):
        raise ValueError(f"{address!r} is not unix:PATH, with letters, digits and ._/+- in PATH")
    if len(path) > _MAX_UNIX_PATH_BYTES:
        raise ValueError(
            f"the path of a Unix socket has at most {_MAX_UNIX_PATH_BYTES} characters, this has {len(path)}"
        )
    return Path(path)


def is_loopback(host: str) -> bool:
    """Whether a host to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(address: str) -> bool:
    """Whether an address to listen on can be reached from this machine only. `address` has been checked."""
    return unix_path(address) is not None or is_loopback(split_address(address)[0])


def check_listen(address: str) -> str:
    """The address itself, if it is HOST:PORT or unix:PATH; for pydantic's AfterValidator."""
    if unix_path(address) is None:
        split_address(address)
    return address


def check_grpc_url(url: str) -> str:
    """The URL itself, if a gRPC server can be reached there; for pydantic's AfterValidator."""
    if unix_path(url) is not None:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("grpc", "grpcs"):
        raise ValueError("neither grpc://HOST:PORT, grpcs://HOST:PORT nor unix:PATH")
    split_address(parts.netloc)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"a {parts.scheme}:// URL has no path")
    return url


def is_encrypted(url: str) -> bool:
    """Whether a URL asks for TLS."""
    return urlsplit(url).scheme in ("grpcs", "https")


def grpc_target(url: str) -> str:
    """What gRPC calls the server at a URL that `check_grpc_url` took."""
    return url if unix_path(url) is not None else urlsplit(url).netloc
