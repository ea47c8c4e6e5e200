"""The file of a Unix socket that a program listens on: for its group, taken over from the dead, not from the living."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_runtime.process import StartupError

__all__ = ["claimed", "identity", "release"]

_UMASK = 0o117
"""Mode 0660: whoever is in the program's group may connect (a proxy, say), others may not."""


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Bind within this: no program serves there, what a dead one left is gone, and the file is made with mode 0660.
    StartupError: a program serves there, or something else lies there, or the folder is not ours to write."""
    _clear(path)
    before = os.umask(_UMASK)  # a chmod afterwards would leave a moment in which others could connect
    try:
        yield
    finally:
        os.umask(before)


def identity(path: Path) -> tuple[int, int]:
    """Tells a socket's file from another that takes its place later; the number alone is soon given out again."""
    status = path.lstat()
    return (status.st_ino, status.st_mtime_ns)


def release(path: Path, bound: tuple[int, int]) -> None:
    """Removes the file at the end, unless another program has put its own there. `bound`: its identity when bound."""
    try:
        if identity(path) == bound:
            path.unlink()
    except OSError:
        pass  # it is gone, or so is the right to remove it: the next start finds out


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(f"cannot listen on unix:{path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise StartupError(f"cannot listen on unix:{path}: it is there already, and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # a program that serves may be too busy to take us in
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            pass
        except BlockingIOError:
            raise _in_use(path) from None
        except OSError as error:
            raise StartupError(f"cannot listen on unix:{path}: {error.strerror}") from None
        else:
            raise _in_use(path)
    try:
        path.unlink()
    except OSError as error:
        raise StartupError(f"cannot listen on unix:{path}: {error.strerror}") from None


def _in_use(path: Path) -> StartupError:
    return StartupError(f"cannot listen on unix:{path}: another program serves there")
