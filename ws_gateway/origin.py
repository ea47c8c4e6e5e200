"""Whether a request was meant for us, and whether the page that sent it may: the Host and Origin headers. Pure.

A browser sends a page's origin with every WebSocket handshake, whatever the same-origin policy: checking it is all that
keeps a page of another site from reading this machine's events (RFC 6455, 10.2). A name that is not ours in Host is how
DNS rebinding looks from here.
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["Hosts", "Origins"]

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Hosts:
    """The names that this gateway goes by: IP addresses, localhost, its own, `.local` ones, and those given."""

    def __init__(self, own_name: str, configured: Iterable[str] = ()) -> None:
        own = own_name.lower().rstrip(".")
        self._names = frozenset({"localhost", own, own.partition(".")[0], *(name.lower() for name in configured)})

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names us. An address cannot be rebound: whoever typed it meant this machine."""
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match["name"].rstrip(".")
        if name in self._names or (name.endswith(".local") and name != ".local"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


class Origins:
    """The pages that may connect: those of the same host and port, and those given (`https://dash.example`)."""

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = frozenset(origin.lower().rstrip("/") for origin in configured)

    def may(self, origin: str | None, host: str) -> bool:
        """`origin` None: not a browser, which sends one always. `null` is a page that hides where it is from."""
        if origin is None:
            return True
        origin = origin.lower()
        if origin in self._configured:
            return True
        try:
            parts = urlsplit(origin)
            port = parts.port
        except ValueError:
            return False
        default = _DEFAULT_PORTS.get(parts.scheme)
        match = _HOST.fullmatch(host.lower())
        if default is None or match is None or "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            return False
        name = (parts.hostname or "").strip("[]")
        return name == match["name"].strip("[]") and (port or default) == int(match["port"] or default)
