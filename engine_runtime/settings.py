"""Settings from the environment and the command line, read once; a bad one is one clear line and exit status 2."""

import argparse
import ipaddress
import re
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError

__all__ = ["check_address", "is_loopback", "load", "split_address"]

_S = TypeVar("_S", bound=BaseSettings)

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPV6]:PORT` as (host without brackets, port). ValueError says what is wrong with it."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is not HOST:PORT")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"port {port} is above 65535")
    return match["host"].strip("[]"), port


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(address: str) -> str:
    """The address itself, if it is HOST:PORT; for pydantic's AfterValidator."""
    split_address(address)
    return address


def load(settings: type[_S], program: str, argv: Sequence[str] | None = None) -> _S:
    """Reads flags (first) and environment variables (second) into a frozen settings object.

    `argv` None: the process's own arguments. `--help` prints every setting with its default and exits 0; a bad value
    prints one line for each mistake to standard error and exits 2.
    """
    parser = argparse.ArgumentParser(prog=program, description=settings.__doc__, allow_abbrev=False)
    try:
        source: CliSettingsSource[Any] = CliSettingsSource(
            settings,
            cli_prog_name=program,
            cli_parse_args=list(sys.argv[1:] if argv is None else argv),
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_show_env_vars=True,
            cli_hide_none_type=True,
            root_parser=parser,
        )
        return settings(_cli_settings_source=source)
    except ValidationError as error:
        prefix = str(settings.model_config.get("env_prefix", ""))
        for mistake in error.errors():
            reason = mistake["msg"].removeprefix("Value error, ")
            if mistake["loc"]:  # otherwise it is about several settings together, and names them itself
                name = prefix + "_".join(str(part) for part in mistake["loc"]).upper()
                reason = f"{name}={mistake['input']!r}: {reason}"
            print(f"{program}: {reason}", file=sys.stderr)  # noqa: T201 - a program's usage errors go to standard error
        raise SystemExit(2) from None
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
