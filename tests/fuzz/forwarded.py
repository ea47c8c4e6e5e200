"""X-Forwarded-For: whatever it says, the address is the peer's or one that a trusted proxy wrote."""

import ipaddress

from ws_gateway.gate import client_address

__all__ = ["target"]

_TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def target(data: bytes) -> None:
    """The header's text."""
    forwarded = data.decode("utf-8", "surrogateescape")
    assert client_address("192.0.2.1", forwarded, _TRUSTED) == "192.0.2.1"
    address = client_address("10.0.0.1", forwarded, _TRUSTED)
    ipaddress.ip_address(address)
    written = {"10.0.0.1", *(_canonical(hop) for hop in forwarded.split(","))}
    assert address in written
    # behind the proxy's own word anything may stand: it changes nothing
    assert client_address("10.0.0.1", f"{forwarded},198.51.100.7", _TRUSTED) == "198.51.100.7"


def _canonical(hop: str) -> str:
    try:
        return str(ipaddress.ip_address(hop.strip()))
    except ValueError:
        return ""
