"""The one folder that jobs may touch. Every path is walked component by component from an open descriptor of it, and
symbolic links are refused at each step by the kernel: a check of the text alone could be raced."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engine_runtime.process import StartupError
from host_engine.errors import InvalidRequest, NoSuchInput, OutputExists, OutsideRoot

__all__ = ["LEDGER_NAME", "Parts", "Root"]

Parts = tuple[str, ...]
"""A path under ROOT: its components, never empty, none of them `.` or `..`."""

LEDGER_NAME = ".jobs.json"
_OURS = frozenset({LEDGER_NAME, LEDGER_NAME + ".new"})
# every job is listed with both of its paths: so bounded, the longest list fits in one gRPC message
_MAX_PATH_BYTES = 1024
_MAX_NAME_BYTES = 255

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: should a FIFO take the file's place after the check, opening it must not hang
_INPUT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Root:
    """ROOT, held open and locked for as long as the engine runs."""

    def __init__(self, path: Path) -> None:
        """Makes the folder if it is missing. StartupError: it cannot be used, or another engine uses it."""
        self._spellings = (PurePosixPath(path.absolute()), PurePosixPath(path.resolve()))
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            # ROOT itself may be a symbolic link: that is the choice of whoever set it
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StartupError(f"cannot use HOST_ENGINE_ROOT={path}: {os.strerror(error.errno or 0)}") from None
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.fd)
            raise StartupError(f"HOST_ENGINE_ROOT={path} is in use by another host_engine") from None

    def close(self) -> None:
        os.close(self.fd)

    def parts(self, text: str, field: str) -> Parts:
        """What `text`, the request's field `field`, names under ROOT; relative paths start there. Looks at no file.

        InvalidRequest: it cannot be a file's path. OutsideRoot: it leads out, or to what the engine keeps for itself.
        """
        if len(text.encode()) > _MAX_PATH_BYTES:
            raise InvalidRequest(f"{field} is longer than {_MAX_PATH_BYTES} bytes")
        if "\0" in text:
            raise InvalidRequest(f"{field} holds a NUL character")
        path = PurePosixPath(text)
        if path.is_absolute():
            root = next((root for root in self._spellings if path.is_relative_to(root)), None)
            if root is None:
                raise OutsideRoot(f"{field} is outside the engine's folder")
            path = path.relative_to(root)
        if ".." in path.parts:
            raise OutsideRoot(f"{field} holds '..', which could lead out of the engine's folder")
        if not path.parts or text.endswith(("/", "/.")):
            raise InvalidRequest(f"{field} names a folder, not a file")
        if any(len(part.encode()) > _MAX_NAME_BYTES for part in path.parts):
            raise InvalidRequest(f"{field} holds a name longer than {_MAX_NAME_BYTES} bytes")
        if path.parts[0].casefold() in _OURS:
            raise OutsideRoot(f"{field} is a file of the engine's own")
        return path.parts

    def open_input(self, parts: Parts) -> int:
        """A descriptor of the regular file `parts`, for the caller to close.

        NoSuchInput, OutsideRoot (a symbolic link, or not readable for the engine), InvalidRequest (not a regular file).
        """
        with self._refusing("input_path"), self.folder(parts[:-1], "input_path") as folder:
            before = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISLNK(before.st_mode):
                _require_regular(before)
            fd = os.open(parts[-1], _INPUT, dir_fd=folder)
            try:
                _require_regular(os.fstat(fd))
            except InvalidRequest:
                os.close(fd)
                raise
            return fd

    def check_output(self, parts: Parts) -> None:
        """OutputExists: something is there. InvalidRequest: its folder is not. OutsideRoot: it leads out."""
        with self._refusing("output_path"), self.folder(parts[:-1], "output_path") as folder:
            try:
                os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return
        raise OutputExists("output_path exists already")

    @contextmanager
    def folder(self, parts: Parts, field: str) -> Iterator[int]:
        """A descriptor of the folder `parts`, reached without following any link. Raises as `_refusing` says."""
        with self._refusing(field):
            fd = os.dup(self.fd)
            try:
                for part in parts:
                    inner = _enter(fd, part, field)
                    os.close(fd)
                    fd = inner
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def _refusing(self, field: str) -> Iterator[None]:
        """Turns the system's refusals into ours, which name the request's field and no path."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                if field == "input_path":
                    raise NoSuchInput("input_path: there is no such file") from None
                raise InvalidRequest(f"the folder of {field} does not exist") from None
            if error.errno == errno.ELOOP:
                raise OutsideRoot(f"{field} goes through a symbolic link, which the engine does not follow") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise OutsideRoot(f"{field}: the engine has no permission") from None
            raise


def _enter(fd: int, part: str, field: str) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=fd)
    except NotADirectoryError:
        # Linux says ENOTDIR, not ELOOP, of a symbolic link opened with O_DIRECTORY
        if stat.S_ISLNK(os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OutsideRoot(f"{field} goes through a symbolic link, which the engine does not follow") from None
        raise


def _require_regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise InvalidRequest("input_path is not a regular file")
