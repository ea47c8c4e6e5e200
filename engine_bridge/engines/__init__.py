"""The kinds of engine. A new kind is one file here and one line in `connect`."""

from urllib.parse import urlsplit

from engine_bridge.engines.contract import OVERTIME_S, Engine, Pushed
from engine_bridge.engines.grpc import GrpcEngine
from engine_bridge.engines.jsonrpc import JsonRpcEngine
from engine_runtime.addresses import grpc_target, is_encrypted
from engine_runtime.tls import TlsFiles

__all__ = ["OVERTIME_S", "Engine", "Pushed", "connect"]


def connect(url: str, files: TlsFiles) -> Engine:
    """The adapter for an engine's URL. Nothing is sent yet. `url` has been checked by the settings; `files` are for one
    that asks for TLS. StartupError: they cannot be used."""
    tls = files if is_encrypted(url) else None
    if urlsplit(url).scheme in ("http", "https"):
        return JsonRpcEngine(url, tls)
    return GrpcEngine(grpc_target(url), tls)
