"""One job from its first byte to its last, in a worker's thread: input, codec, output put in place."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import zstandard

from host_engine import codec
from host_engine.codec import Progress, Read
from host_engine.errors import HostEngineError, JobCancelled, JobFailed
from host_engine.job import JobSpec
from host_engine.partial import Partial
from host_engine.rootdir import Root

__all__ = ["OutputLimits", "execute"]


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """How much a job may write."""

    max_bytes: int
    min_free_bytes: int


def execute(root: Root, spec: JobSpec, progress: Progress, limits: OutputLimits) -> None:
    """Returns when the output is whole and in place. JobFailed, JobCancelled: there is none, and nothing is left."""
    try:
        _execute(root, spec, progress, limits)
    except (JobFailed, JobCancelled):
        raise
    except HostEngineError as error:
        # the path was right when the job was submitted, and is not any more
        raise JobFailed(str(error)) from None
    except FileExistsError:
        raise JobFailed("a file of the temporary output's name exists already") from None
    except OSError as error:
        raise JobFailed(os.strerror(error.errno) if error.errno else "the disk failed") from None
    except (zstandard.ZstdError, MemoryError):
        raise JobFailed("zstd could not get the memory that this level needs") from None


def _execute(root: Root, spec: JobSpec, progress: Progress, limits: OutputLimits) -> None:
    with (
        _input(root, spec) as (read, size_bytes, mode),
        Partial(
            root,
            spec.output,
            spec.job_id,
            max_bytes=limits.max_bytes,
            min_free_bytes=limits.min_free_bytes,
        ) as output,
    ):
        if spec.compresses:
            progress.phase = "compressing"
            codec.compress(read, output.write, progress, size_bytes=size_bytes, level=spec.level)
        else:
            progress.phase = "decompressing"
            codec.decompress(read, output.write, progress)
        progress.phase = "writing to disk"
        output.set_mode(mode)
        output.sync()
        progress.checkpoint()
        output.place()


@contextmanager
def _input(root: Root, spec: JobSpec) -> Iterator[tuple[Read, int, int]]:
    """How to read the input, its size in bytes, and the permission bits that the output gets."""
    if spec.input is None:
        yield io.BytesIO(spec.data).read, len(spec.data), 0o600
        return
    fd = root.open_input(spec.input)
    try:
        info = os.fstat(fd)
        yield lambda size_bytes: os.read(fd, size_bytes), info.st_size, info.st_mode
    finally:
        os.close(fd)
