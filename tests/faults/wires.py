"""Reaching a gateway plain or over TLS, and what it says of itself."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.kit.client import get
from tests.kit.programs import Stack

__all__ = ["Wire", "plain", "tls"]


@dataclass(frozen=True)
class Wire:
    """One of the two."""

    name: str
    settings: Mapping[str, str]
    """Of the gateway."""
    tls: ssl.SSLContext | None
    """For clients."""

    def ws_url(self, stack: Stack) -> str:
        return f"{'wss' if self.tls else 'ws'}://{stack.gateway.address}/ws"

    async def status(self, stack: Stack) -> Any:
        """/api/v1/status of the first gateway."""
        url = f"{'https' if self.tls else 'http'}://{stack.gateway.address}/api/v1/status"
        return (await get(url, tls=self.tls, namespace=stack.gateway.place.namespace)).json()

    async def clients(self, stack: Stack) -> dict[str, int]:
        """What it counts of its clients."""
        clients: dict[str, int] = (await self.status(stack))["clients"]
        return clients


def plain() -> Wire:
    return Wire("plain", {}, None)


def tls(directory: Path) -> Wire:
    """With a certificate of an authority made for this, whose files lie in `directory`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = directory / "gateway.pem", directory / "gateway.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Wire("TLS", {"WS_GATEWAY_TLS_CERT": str(chain), "WS_GATEWAY_TLS_KEY": str(key)}, client)
