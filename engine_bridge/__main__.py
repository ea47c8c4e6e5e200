"""`python -m engine_bridge`."""

from engine_bridge.app import serve
from engine_bridge.config import Settings
from engine_runtime import logs, process, settings


def main() -> None:
    """Reads the settings, then serves until SIGINT or SIGTERM."""
    config = settings.load(Settings, "engine_bridge")
    logs.configure("engine_bridge", config.log_level)
    process.run("engine_bridge", lambda stop: serve(config, stop))


if __name__ == "__main__":
    main()
