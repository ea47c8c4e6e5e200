"""The kinds of engine. A new kind is one file here and one line in `connect`."""

from urllib.parse import urlsplit

from engine_bridge.engines.contract import Engine, Pushed
from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.engines.jsonrpc import JsonRpcEngine

__all__ = ["Engine", "Pushed", "connect"]


def connect(url: str) -> Engine:
    """The adapter for an engine's URL. Nothing is sent yet. `url` has been checked by the settings."""
    parts = urlsplit(url)
    if parts.scheme == "grpc":
        return GrpcEngine(parts.netloc)
    return JsonRpcEngine(url)
