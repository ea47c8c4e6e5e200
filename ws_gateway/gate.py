"""Before any handler: was the request meant for us, may the page that sent it, and who is it from."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, Literal

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ws_gateway.origin import Hosts, Origins

__all__ = ["ADDRESS", "UNIX", "Gate", "client_address"]

log = structlog.get_logger()

ADDRESS = web.RequestKey("address", str)
"""Where a request has the client's address, as text."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

UNIX: Final = "unix"
"""The address of whoever comes over a Unix socket, all of them together, and the name by which they are trusted."""

_Proxies = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]]


class Gate:
    """What one gateway lets through."""

    def __init__(self, hosts: Hosts, origins: Origins, trusted_proxies: _Proxies) -> None:
        self._hosts = hosts
        self._origins = origins
        self._trusted_proxies = trusted_proxies
        self.refused = 0

    @property
    def middleware(self) -> Middleware:
        """For web.Application. 400: no Host, or several. 421: a Host that is not ours. 403: an Origin that may not."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            # in a function of its own, whose variables do not stay for as long as the connection
            return self._refusal(request) or await handler(request)

        return middleware

    def _refusal(self, request: web.Request) -> web.Response | None:
        """None: it may come in, and its address stands in it."""
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        if len(hosts) != 1:
            return self._refuse(request, 400, "one Host header, please\n")
        if not self._hosts.is_ours(hosts[0]):
            return self._refuse(request, 421, "this gateway does not go by that name\n")
        if len(origins) > 1 or not self._origins.may(origins[0] if origins else None, hosts[0]):
            return self._refuse(request, 403, "pages of that origin may not connect\n")
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
        request[ADDRESS] = client_address(_peer(request), forwarded, self._trusted_proxies)
        return None

    async def add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        """For `on_response_prepare`: the security headers, where a handler has not set its own."""
        if response.status == 101:
            return  # no browser looks at them there, and each connection would keep them: 1 KB of its 16
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)

    def _refuse(self, request: web.Request, status: int, text: str) -> web.Response:
        self.refused += 1
        log.info(
            "request_refused",
            status=status,
            address=_peer(request),
            host=request.headers.get("Host", "")[:200],
            origin=request.headers.get("Origin", "")[:200],
        )
        return web.Response(status=status, text=text, headers={"Connection": "close"})


def client_address(peer: str, forwarded: str, trusted: _Proxies) -> str:
    """Whose request it is: the peer, unless that is a trusted proxy; then the last address in X-Forwarded-For that is
    not one. What stands before that was written by the client and can say anything."""
    address = peer
    hops = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
    while _is_trusted(address, trusted) and hops:
        hop = hops.pop()
        try:
            address = str(ipaddress.ip_address(hop))
        except ValueError:
            break
    return address


def _peer(request: web.Request) -> str:
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        return UNIX
    return request.remote or ""


def _is_trusted(address: str, proxies: _Proxies) -> bool:
    if address == UNIX:
        return UNIX in proxies
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in proxies if network != UNIX)
