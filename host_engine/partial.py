"""An output in the making: a hidden file beside its target, put in place whole or not at all, never over another."""

import ctypes
import errno
import os
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from host_engine.errors import JobFailed
from host_engine.rootdir import Parts, Root

__all__ = ["Partial", "partial_name", "remove_leftover"]

_MAX_NAME_BYTES = 255
_LOOK_EVERY_BYTES = 16 << 20
# the rest to be written at the end stays small, so that a job can be cancelled, and the engine stopped, within moments
_SYNC_EVERY_BYTES = 128 << 20
_RENAME_NOREPLACE = 1
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def partial_name(name: str, job_id: str) -> str:
    """`.NAME.JOB_ID.partial`, with NAME cut short where the whole would be too long for a file name."""
    room = _MAX_NAME_BYTES - len(f"..{job_id}.partial")
    return f".{name.encode()[:room].decode(errors='ignore')}.{job_id}.partial"


def remove_leftover(root: Root, parts: Parts, job_id: str) -> bool:
    """Removes what a killed job left beside its target. Whether there was anything. OSError, HostEngineError."""
    with root.folder(parts[:-1], "output_path") as folder:
        try:
            os.unlink(partial_name(parts[-1], job_id), dir_fd=folder)
        except FileNotFoundError:
            return False
        return True


class Partial:
    """The output of one job, open for writing; a context manager that leaves nothing unless `place` succeeded."""

    def __init__(self, root: Root, parts: Parts, job_id: str, *, max_bytes: int, min_free_bytes: int) -> None:
        """`max_bytes`: of the output. `min_free_bytes`: of the file system, to be left free."""
        self._name = parts[-1]
        self._temporary = partial_name(parts[-1], job_id)
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._written_bytes = 0
        self._looked_at_bytes = 0
        self._synced_at_bytes = 0
        with ExitStack() as undo:
            self._folder = undo.enter_context(root.folder(parts[:-1], "output_path"))
            self._fd = os.open(
                self._temporary,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=self._folder,
            )
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        try:
            self._require_room()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._undo:
            os.close(self._fd)
            try:
                os.unlink(self._temporary, dir_fd=self._folder)
            except FileNotFoundError:
                pass  # it was renamed into place, or somebody cleaned up

    def write(self, piece: bytes) -> None:
        """JobFailed: the output grew too large or the file system too full. OSError."""
        if self._written_bytes + len(piece) > self._max_bytes:
            raise JobFailed(f"the output would be larger than {self._max_bytes} bytes (HOST_ENGINE_MAX_OUTPUT_BYTES)")
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._written_bytes += len(piece)
        if self._written_bytes - self._looked_at_bytes >= _LOOK_EVERY_BYTES:
            self._looked_at_bytes = self._written_bytes
            self._require_room()
        if self._written_bytes - self._synced_at_bytes >= _SYNC_EVERY_BYTES:
            self._synced_at_bytes = self._written_bytes
            os.fsync(self._fd)

    def set_mode(self, mode: int) -> None:
        """Gives the output the permission bits of its input."""
        os.fchmod(self._fd, mode & 0o777)

    def sync(self) -> None:
        """Returns when the disk has all of it."""
        os.fsync(self._fd)

    def place(self) -> None:
        """Gives the output its name. JobFailed: the name was taken meanwhile; what is there stays as it is."""
        try:
            os.link(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileExistsError:
            raise JobFailed("output_path exists already: something was put there while the job ran") from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _rename_without_replacing(self._folder, self._temporary, self._name)
        os.fsync(self._folder)

    def _require_room(self) -> None:
        room = os.fstatvfs(self._fd)
        if room.f_bavail * room.f_frsize < self._min_free_bytes:
            raise JobFailed(f"less than {self._min_free_bytes} bytes would be left free (HOST_ENGINE_MIN_FREE_BYTES)")


def _rename_without_replacing(folder: int, old: str, new: str) -> None:
    """For file systems that have no hard links (FAT, some network ones)."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is None or rename(folder, os.fsencode(old), folder, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno() if rename is not None else errno.ENOSYS
        if number == errno.EEXIST:
            raise JobFailed("output_path exists already: something was put there while the job ran")
        if number in (errno.EINVAL, errno.ENOSYS):
            raise JobFailed("this file system cannot put a file in place without replacing another")
        raise OSError(number, os.strerror(number))
