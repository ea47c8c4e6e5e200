"""The gateway's settings, read once."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.addresses import check_grpc_url, check_listen, is_encrypted, is_local, unix_path
from engine_runtime.tls import TlsFiles, check_client, check_server

__all__ = ["Settings"]


def _proxy(value: object) -> IPv4Network | IPv6Network | Literal["unix"]:
    if value == "unix":
        return "unix"
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError("neither an IP network nor unix") from None


class Settings(BaseSettings):
    """Fans a bridge's events out to WebSocket clients as JSON. Each setting is a variable or a flag."""

    model_config = SettingsConfigDict(env_prefix="WS_GATEWAY_", frozen=True, extra="ignore")

    listen: Annotated[str, AfterValidator(check_listen)] = Field(
        "127.0.0.1:12080", description="where browsers connect, HOST:PORT, or unix:PATH for a proxy"
    )
    bridge: Annotated[str, AfterValidator(check_grpc_url)] = Field(
        "grpc://127.0.0.1:50051", description="the bridge, grpc(s)://HOST:PORT or unix:PATH"
    )
    bridge_tls_ca: Path | None = Field(
        None,
        description="PEM file of the authorities that may have signed the bridge's certificate (none: public ones)",
    )
    bridge_tls_cert: Path | None = Field(
        None, description="PEM file with the certificate chain that the bridge is shown"
    )
    bridge_tls_key: Path | None = Field(None, description="PEM file with its private key")
    heartbeat_s: float = Field(30, ge=1, le=3600, description="each client gets a heartbeat this often, seconds")
    stall_s: float = Field(30, ge=1, le=3600, description="a client that reads nothing for so long is closed, seconds")
    # until the whole head of a request is there a connection is nobody's, and costs a descriptor
    headers_s: float = Field(
        10, ge=0.1, le=3600, description="a request's headers must be there within so long, seconds"
    )
    tls_handshake_s: float = Field(10, ge=0.1, le=60, description="and a TLS handshake must be over, seconds")
    credentials_s: float = Field(
        5,
        ge=0.1,
        le=3600,
        description="a token that does not come with the handshake must come within so long, seconds",
    )
    # clients that are gone do not answer
    close_s: float = Field(1, ge=0.1, le=60, description="wait for the answer to a close frame, seconds")
    # a command is some hundred bytes, and a token at most 4 KiB
    max_message_bytes: int = Field(65_536, ge=128, le=16 << 20, description="largest message taken from a client")
    # a command needs three; the parser's stack ends near 1000
    max_json_depth: int = Field(16, ge=3, le=500, description="objects and lists inside one another in a message")
    # each is looked at when a type is seen for the first time
    max_subscriptions: int = Field(64, ge=8, le=10_000, description="types and patterns that one client may want")
    # a dashboard sends a few in an hour
    messages_per_s: float = Field(20, gt=0, le=1e6, description="messages that one client may send, over time")
    messages_burst: int = Field(100, ge=1, le=1_000_000, description="and at once")
    max_bad_messages: int = Field(10, ge=1, le=1_000_000, description="bad messages in a row that end a connection")
    max_clients: int = Field(10_000, ge=1, le=1_000_000, description="clients connected at once")
    max_clients_per_address: int = Field(256, ge=1, le=1_000_000, description="of them from one address")
    # without a bound of ours the kernel alone would hold 3 MB for each client that does not read
    send_buffer_bytes: int = Field(65_536, ge=4096, le=16 << 20, description="SO_SNDBUF of each connection")
    high_water_bytes: int = Field(
        65_536,
        ge=4096,
        le=16 << 20,
        description="unsent bytes above which a client is behind, and gets only the latest",
    )
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
    trusted_proxies: list[Annotated[IPv4Network | IPv6Network | Literal["unix"], PlainValidator(_proxy)]] = Field(
        [], description="proxies whose X-Forwarded-For is believed: networks, or unix for those on the Unix socket"
    )
    insecure: bool = Field(False, description="listen where others can reach it though nobody is asked for credentials")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line shown")

    @model_validator(mode="after")
    def _certificates_go_together(self) -> Self:
        check_server("WS_GATEWAY", listen_is_unix=unix_path(self.listen) is not None, files=self.server_files)
        check_client("WS_GATEWAY_BRIDGE", url=self.bridge, encrypted=is_encrypted(self.bridge), files=self.bridge_files)
        return self

    @model_validator(mode="after")
    def _reachable_only_on_purpose(self) -> Self:
        asked = self.tokens_file is not None or self.jwt_key_file is not None
        if not (asked or self.insecure or is_local(self.listen)):
            raise ValueError(
                f"WS_GATEWAY_LISTEN={self.listen}: others can reach this address and nobody is asked who they are; set "
                "WS_GATEWAY_TOKENS_FILE or WS_GATEWAY_JWT_KEY_FILE, or WS_GATEWAY_INSECURE=true if that is meant"
            )
        return self

    @property
    def server_files(self) -> TlsFiles:
        """For LISTEN. No certificate: in the clear."""
        return TlsFiles(self.tls_cert, self.tls_key, None)

    @property
    def bridge_files(self) -> TlsFiles:
        """For BRIDGE, if its URL asks for TLS."""
        return TlsFiles(self.bridge_tls_cert, self.bridge_tls_key, self.bridge_tls_ca)
