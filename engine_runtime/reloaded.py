"""What a file says, looked at again when it has changed. Never gives what cannot be used."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

__all__ = ["Reloaded", "UnusableFileError"]

log = structlog.get_logger()

T = TypeVar("T")

_LOOK_EVERY_S = 1.0
_UNUSABLE = (OSError, ValueError, KeyError, TypeError)
"""What reading raises. ssl.SSLError is an OSError."""


class UnusableFileError(Exception):
    """Files that cannot be used at the start; its text is the one line that says why."""


class Reloaded(Generic[T]):
    """What some files say together, read again when one of them has changed; if they cannot be used then, what they
    said before. No timer runs: they are looked at when somebody asks, at most once a second.

    Any thread may ask. Two that do so at the same moment may both read, which does no harm.
    """

    def __init__(
        self, what: str, paths: Sequence[Path], read: Callable[[], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what`: the word for it in errors, and in the log (`WHAT_reloaded`). `read` raises OSError, ValueError,
        KeyError or TypeError for what cannot be used. UnusableFileError: it did."""
        self._what = what
        self._paths = tuple(paths)
        self._read = read
        self._clock = clock
        # gRPC asks from threads of its own, which have no context variables
        self._log = log.bind(files=self._names, **structlog.contextvars.get_contextvars())
        self._looked_at_s = clock()
        self._stamp: Sequence[object] = self._stamps()
        try:
            self._value = self._read_whole()
        except _UNUSABLE as error:
            raise UnusableFileError(f"cannot use the {what} {self._names}: {error}") from None

    def value(self) -> T:
        """What is in force."""
        now_s = self._clock()
        if now_s - self._looked_at_s >= _LOOK_EVERY_S:
            self._looked_at_s = now_s
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
        return self._value

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._paths))

    def _reload(self) -> None:
        try:
            self._value = self._read_whole()
            self._log.info(f"{self._what}_reloaded")
        except _UNUSABLE as error:
            self._log.error(f"{self._what}_not_reloaded", error=str(error))

    def _read_whole(self) -> T:
        value = self._read()
        if self._stamps() != self._stamp:
            raise ValueError("it changed while it was read")  # and so it is read again at the next look
        return value

    def _stamps(self) -> Sequence[object]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> Sequence[float]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
