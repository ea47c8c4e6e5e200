"""grpcurl, as the README shows it."""

import asyncio
import json
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["grpcurl"]


async def grpcurl(
    address: str,
    *words: str | dict[str, Any],
    flags: Sequence[str] = ("-plaintext",),
    fails: bool = False,
    max_time_s: float | None = None,
) -> str:
    """Runs `grpcurl -plaintext ADDRESS …`, or with other `flags`; a dict becomes `-d`. Its output, both streams.
    AssertionError: unexpected status."""
    command = [str(Path(sysconfig.get_path("scripts")) / "grpcurl"), *flags]
    for word in words:
        if isinstance(word, dict):
            command += ["-d", json.dumps(word)]
    if max_time_s is not None:
        command += ["-max-time", str(max_time_s)]
    command += [address, *(word for word in words if isinstance(word, str))]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert (process.returncode != 0) is fails, output.decode()
    return output.decode()
