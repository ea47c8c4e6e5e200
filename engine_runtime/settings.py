"""Settings from the environment and the command line, read once; a bad one is one clear line and exit status 2."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError

__all__ = ["load"]

_S = TypeVar("_S", bound=BaseSettings)


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
