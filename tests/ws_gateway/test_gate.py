"""What is let through before any handler, over real connections."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ws_gateway.gate import ADDRESS, Gate, client_address
from ws_gateway.origin import Hosts, Origins

NETWORKS = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("", "203.0.113.9", ""),
        ("unix", "203.0.113.9", "unix"),
    ],
)
def test_address_is_the_peers_unless_a_trusted_proxy_says_whose_it_is(peer: str, forwarded: str, address: str) -> None:
    """Anybody can write X-Forwarded-For; only what a trusted proxy added counts."""
    assert client_address(peer, forwarded, NETWORKS) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("unix", "203.0.113.9", "203.0.113.9"),
        ("unix", "", "unix"),
        ("unix", "203.0.113.9, unix", "unix"),
        ("unix", "198.51.100.7, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "unix", "10.0.0.1"),
    ],
)
def test_proxy_on_the_unix_socket_is_trusted_by_its_name(peer: str, forwarded: str, address: str) -> None:
    """A name that nobody can put into X-Forwarded-For."""
    assert client_address(peer, forwarded, [*NETWORKS, "unix"]) == address


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    gate = Gate(Hosts("nas"), Origins(["https://dash.example"]), [])

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request[ADDRESS])

    app = web.Application(middlewares=[gate.middleware])
    app.on_response_prepare.append(gate.add_headers)
    app.router.add_get("/", handler)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def answer(server: TestServer, *headers: str) -> str:
    """The whole response to a GET with exactly these header lines."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write("\r\n".join(["GET / HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
    async with asyncio.timeout(5):
        text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: nas"], 200),
        (["Host: nas:1", "Origin: http://nas:1"], 200),
        (["Host: 127.0.0.1", "Origin: https://dash.example"], 200),
        (["Host: evil.example"], 421),
        (["Host: evil.example", "Origin: http://evil.example"], 421),
        (["Host: nas", "Origin: http://evil.example"], 403),
        (["Host: nas", "Origin: null"], 403),
        (["Host: nas", "Origin: http://nas", "Origin: http://nas"], 403),
        ([], 400),
        (["Host: nas", "Host: nas"], 400),
        (["Host: nas", "Host: evil.example"], 400),
    ],
)
async def test_request_is_answered_by_its_host_and_origin(server: TestServer, headers: list[str], status: int) -> None:
    text = await answer(server, *headers)
    assert text.split(maxsplit=2)[1] == str(status), text


async def test_every_answer_carries_the_security_headers(server: TestServer) -> None:
    for text in (await answer(server, "Host: nas"), await answer(server, "Host: evil.example")):
        assert "X-Content-Type-Options: nosniff" in text
        assert "default-src 'none'" in text
        assert "X-Frame-Options: DENY" in text
