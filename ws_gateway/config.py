"""The gateway's settings, read once."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.settings import check_address, split_address

__all__ = ["Settings"]


def _check_bridge(url: str) -> str:
    scheme, separator, address = url.partition("://")
    if scheme != "grpc" or not separator:
        raise ValueError("not grpc://HOST:PORT")
    split_address(address.removesuffix("/"))
    return url


class Settings(BaseSettings):
    """Fans a bridge's events out to WebSocket clients as JSON. Each setting is a variable or a flag."""

    model_config = SettingsConfigDict(env_prefix="WS_GATEWAY_", frozen=True, extra="ignore")

    listen: Annotated[str, AfterValidator(check_address)] = Field(
        "127.0.0.1:12080", description="where browsers connect, HOST:PORT"
    )
    bridge: Annotated[str, AfterValidator(_check_bridge)] = Field(
        "grpc://127.0.0.1:50051", description="the bridge, grpc://HOST:PORT"
    )
    heartbeat_s: float = Field(30, ge=1, le=3600, description="each client gets a heartbeat this often, seconds")
    stall_s: float = Field(30, ge=1, le=3600, description="a client that reads nothing for so long is closed, seconds")
    max_message_bytes: int = Field(65_536, ge=128, le=16 << 20, description="largest message taken from a client")
    max_clients: int = Field(10_000, ge=1, le=1_000_000, description="clients connected at once")
    max_clients_per_address: int = Field(256, ge=1, le=1_000_000, description="of them from one address")
    history_events: int = Field(10_000, ge=1, le=10_000_000, description="log events kept for clients that come back")
    history_bytes: int = Field(33_554_432, ge=65_536, le=1 << 34, description="bytes kept in all, as JSON")
    tls_cert: Path | None = Field(None, description="PEM file with the certificate chain; with it, https and wss only")
    tls_key: Path | None = Field(None, description="PEM file with its private key")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line shown")

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("WS_GATEWAY_TLS_CERT and WS_GATEWAY_TLS_KEY go together")
        return self
