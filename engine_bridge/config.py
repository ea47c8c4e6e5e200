"""The bridge's settings, read once."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.addresses import check_grpc_url, check_listen, is_encrypted, is_local, unix_path
from engine_runtime.tls import TlsFiles, check_client, check_server

__all__ = ["Settings"]


def _check_engine(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in ("grpc", "grpcs", "unix"):
        return check_grpc_url(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("neither grpc(s)://HOST:PORT, unix:PATH nor http(s)://HOST:PORT/PATH")
    if not parts.hostname or parts.port == 0:  # reading the port raises ValueError if it is none
        raise ValueError("no host, or no port, in the URL")
    return url


class Settings(BaseSettings):
    """Streams an engine's events over gRPC, from behind circuit breakers. Each setting is a variable or a flag."""

    model_config = SettingsConfigDict(env_prefix="ENGINE_BRIDGE_", frozen=True, extra="ignore")

    listen: Annotated[str, AfterValidator(check_listen)] = Field(
        "127.0.0.1:50051", description="where gRPC clients connect, HOST:PORT or unix:PATH"
    )
    engine: Annotated[str, AfterValidator(_check_engine)] = Field(
        "grpc://127.0.0.1:50052",
        description="the engine: grpc(s)://HOST:PORT, unix:PATH, or a JSON-RPC 2.0 engine's http(s)://HOST:PORT/PATH",
    )
    tls_cert: Path | None = Field(
        None, description="PEM file with our certificate chain; with it, LISTEN speaks TLS only"
    )
    tls_key: Path | None = Field(None, description="PEM file with its private key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of authorities; with it, clients must show a certificate that one of them signed"
    )
    engine_tls_ca: Path | None = Field(
        None,
        description="PEM file of the authorities that may have signed the engine's certificate (none: public ones)",
    )
    engine_tls_cert: Path | None = Field(
        None, description="PEM file with the certificate chain that the engine is shown"
    )
    engine_tls_key: Path | None = Field(None, description="PEM file with its private key")
    poll_s: float = Field(5, ge=0.05, le=3600, description="each topic is asked for this often, seconds")
    call_timeout_s: float = Field(2, ge=0.05, le=300, description="deadline of one call to the engine, seconds")
    breaker_failures: int = Field(5, ge=1, le=1000, description="failures in a row that open a breaker")
    breaker_reset_s: float = Field(
        10, ge=0.05, le=3600, description="an open breaker waits this long before its first trial, seconds"
    )
    breaker_reset_max_s: float = Field(
        300, ge=0.05, le=86400, description="and twice as long after each failed one, up to this, seconds"
    )
    history_events: int = Field(10_000, ge=1, le=10_000_000, description="log events kept for readers that come back")
    history_bytes: int = Field(16_777_216, ge=65_536, le=1 << 34, description="bytes kept in all")
    insecure: bool = Field(False, description="listen where others can reach it though nobody is asked for credentials")
    heartbeat_s: float = Field(
        5, ge=0.1, le=60, description="how often a quiet stream carries a progress mark, seconds"
    )
    max_subscribers: int = Field(256, ge=1, le=100_000, description="streams open at once")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line shown")

    @model_validator(mode="after")
    def _reachable_only_on_purpose(self) -> Self:
        if not (self.insecure or self.tls_client_ca is not None or is_local(self.listen)):
            raise ValueError(
                f"ENGINE_BRIDGE_LISTEN={self.listen}: others can reach this address and nobody is asked who they are; "
                "set ENGINE_BRIDGE_TLS_CERT, _KEY and _CLIENT_CA, or ENGINE_BRIDGE_INSECURE=true if that is meant"
            )
        return self

    @model_validator(mode="after")
    def _certificates_go_together(self) -> Self:
        check_server("ENGINE_BRIDGE", listen_is_unix=unix_path(self.listen) is not None, files=self.server_files)
        check_client(
            "ENGINE_BRIDGE_ENGINE", url=self.engine, encrypted=is_encrypted(self.engine), files=self.engine_files
        )
        return self

    @property
    def server_files(self) -> TlsFiles:
        """For LISTEN. No certificate: in the clear."""
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def engine_files(self) -> TlsFiles:
        """For ENGINE, if its URL asks for TLS."""
        return TlsFiles(self.engine_tls_cert, self.engine_tls_key, self.engine_tls_ca)
