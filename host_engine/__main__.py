"""`python -m host_engine`: this machine as an engine."""

from functools import partial

from engine_runtime import logs, process, settings
from host_engine.app import serve
from host_engine.config import Settings

__all__ = ["main"]


def main() -> None:
    """Exit status 0: stopped by a signal. 1: could not start. 2: a bad setting."""
    values = settings.load(Settings, "host_engine")
    logs.configure("host_engine", values.log_level)
    process.run("host_engine", partial(serve, values))


if __name__ == "__main__":
    main()
