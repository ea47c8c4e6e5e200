"""The engine's settings, read once in `__main__` and handed down as the few values that each part needs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine_runtime.settings import check_address, is_loopback, split_address

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Serves this machine as an engine: system status, storage, workers and compression jobs over gRPC."""

    model_config = SettingsConfigDict(env_prefix="HOST_ENGINE_", frozen=True)

    insecure: bool = Field(
        default=False,
        description="allow LISTEN to be an address that other machines can reach, without credentials",
    )
    listen: Annotated[str, AfterValidator(check_address)] = Field(
        default="127.0.0.1:50052", description="HOST:PORT to serve gRPC on; port 0 picks a free one"
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

    @field_validator("listen")
    @classmethod
    def _reachable_only_on_purpose(cls, listen: str, info: ValidationInfo) -> str:
        if not info.data.get("insecure") and not is_loopback(split_address(listen)[0]):
            raise ValueError(
                "other machines could reach this address and the engine asks nobody who they are; "
                "set HOST_ENGINE_INSECURE=true (--insecure) if that is meant"
            )
        return listen
