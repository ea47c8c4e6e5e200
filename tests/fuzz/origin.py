"""Host and Origin: no header raises, and no page of another host is let in."""

from urllib.parse import urlsplit

from ws_gateway.origin import Hosts, Origins

__all__ = ["target"]

_HOSTS = Hosts("nas.example", ["dash.example"])
_ORIGINS = Origins(["https://dash.example"])
_OURS = ("nas.example", "nas", "localhost", "dash.example")


def target(data: bytes) -> None:
    """Host and Origin, separated by a zero."""
    host, _, origin = data.decode("utf-8", "surrogateescape").partition("\0")
    is_ours = _HOSTS.is_ours(host)
    if is_ours:
        name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
        name = name.rstrip(".")
        assert name in _OURS or name.endswith(".local") or not set(name) - set("0123456789abcdef.:[]"), host
    if _ORIGINS.may(origin, host) and origin.lower() != "https://dash.example":
        assert urlsplit(origin.lower()).hostname in (
            host.lower(),
            host.lower().rpartition(":")[0],
            host.lower()[1:-1],
        ), (
            host,
            origin,
        )
