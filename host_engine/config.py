"""The engine's settings, read once in `__main__` and handed down as the few values that each part needs."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.addresses import check_listen, is_local, unix_path
from engine_runtime.tls import TlsFiles, check_server

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Serves this machine as an engine: system status, storage, workers and compression jobs over gRPC."""

    model_config = SettingsConfigDict(env_prefix="HOST_ENGINE_", frozen=True)

    insecure: bool = Field(
        default=False,
        description="allow LISTEN to be an address that other machines can reach, without credentials",
    )
    listen: Annotated[str, AfterValidator(check_listen)] = Field(
        default="127.0.0.1:50052", description="HOST:PORT or unix:PATH to serve gRPC on; port 0 picks a free one"
    )
    tls_cert: Path | None = Field(
        default=None, description="PEM file with our certificate chain; with it, LISTEN speaks TLS only"
    )
    tls_key: Path | None = Field(default=None, description="PEM file with its private key")
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file of authorities; with it, clients must show a certificate that one of them signed",
    )
    root: Path = Field(
        default=Path("engine-files"),
        description="the one folder under which compression jobs may read and write; made if it is missing",
    )
    # zstd keeps a core busy and up to 0.7 GB at level 22 for each job
    workers: int = Field(default=2, ge=1, le=32, description="compression jobs at work at the same time")
    # a waiting data job keeps up to 1 MiB in memory
    max_pending_jobs: int = Field(default=100, ge=1, le=1000, description="compression jobs waiting, at most")
    # each is listed in every answer and every event about the queue
    kept_jobs: int = Field(default=100, ge=0, le=1000, description="finished compression jobs listed, the latest")
    max_watchers: int = Field(default=16, ge=1, le=1000, description="WatchEvents streams at the same time, at most")
    # a full disk breaks more than the job that filled it
    min_free_bytes: int = Field(
        default=256 << 20, ge=0, description="a job fails rather than leave less free space than this beside its output"
    )
    # 30 kB of zstd can become 1 GB
    max_output_bytes: int = Field(
        default=1 << 40, ge=1, description="a job fails rather than write an output larger than this"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged"
    )

    @model_validator(mode="after")
    def _reachable_only_on_purpose(self) -> Self:
        if not (self.insecure or self.tls_client_ca is not None or is_local(self.listen)):
            raise ValueError(
                f"HOST_ENGINE_LISTEN={self.listen}: others can reach this address and nobody is asked who they are; "
                "set HOST_ENGINE_TLS_CERT, _KEY and _CLIENT_CA, or HOST_ENGINE_INSECURE=true if that is meant"
            )
        return self

    @model_validator(mode="after")
    def _certificates_go_together(self) -> Self:
        check_server("HOST_ENGINE", listen_is_unix=unix_path(self.listen) is not None, files=self.server_files)
        return self

    @property
    def server_files(self) -> TlsFiles:
        """For LISTEN. No certificate: in the clear."""
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)
