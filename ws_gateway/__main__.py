"""`python -m ws_gateway`."""

from engine_runtime import logs, process, settings
from ws_gateway.app import serve
from ws_gateway.config import Settings


def main() -> None:
    """Reads the settings, then serves until SIGINT or SIGTERM."""
    config = settings.load(Settings, "ws_gateway")
    logs.configure("ws_gateway", config.log_level)
    process.run("ws_gateway", lambda stop: serve(config, stop))


if __name__ == "__main__":
    main()
