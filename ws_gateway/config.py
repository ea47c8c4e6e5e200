"""The gateway's settings, read once."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, IPvAnyNetwork, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.settings import check_address, is_loopback, split_address

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
    tokens_file: Path | None = Field(
        None, description="file of static tokens: one a line, then the topic patterns that it may see (none: all)"
    )
    jwt_key_file: Path | None = Field(
        None, description="HS256: the secret; RS256, EdDSA: a public key (PEM), or a JSON Web Key Set (*.json)"
    )
    jwt_algorithm: Literal["HS256", "RS256", "EdDSA"] = Field("HS256", description="the one algorithm that is taken")
    jwt_audience: str | None = Field(None, description="`aud` that a JWT must have")
    jwt_issuer: str | None = Field(None, description="`iss` that a JWT must have")
    jwt_topics_claim: str = Field("topics", min_length=1, description="claim that lists the patterns a JWT may see")
    token_in_url: bool = Field(False, description="also take ?token=…, which ends in other programs' logs")
    allowed_origins: list[str] = Field([], description="pages that may connect beside our own: https://dash.example")
    allowed_hosts: list[str] = Field([], description="names of ours beside addresses, localhost, host name and .local")
    trusted_proxies: list[IPvAnyNetwork] = Field([], description="proxies whose X-Forwarded-For is believed")
    insecure: bool = Field(False, description="listen where others can reach it though nobody is asked for credentials")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line shown")

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("WS_GATEWAY_TLS_CERT and WS_GATEWAY_TLS_KEY go together")
        return self

    @model_validator(mode="after")
    def _reachable_only_on_purpose(self) -> Self:
        asked = self.tokens_file is not None or self.jwt_key_file is not None
        if not (asked or self.insecure or is_loopback(split_address(self.listen)[0])):
            raise ValueError(
                f"WS_GATEWAY_LISTEN={self.listen}: others can reach this address and nobody is asked who they are; set "
                "WS_GATEWAY_TOKENS_FILE or WS_GATEWAY_JWT_KEY_FILE, or WS_GATEWAY_INSECURE=true if that is meant"
            )
        return self
