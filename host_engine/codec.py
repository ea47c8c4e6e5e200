"""zstd, streaming: pieces of 1 MiB from a reader to a writer, with the figures of how far it is. Runs in a worker's
thread; the library releases the interpreter lock while it works."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import zstandard

from host_engine.errors import JobCancelled, JobFailed
from host_engine.frames import FrameScanner

__all__ = ["Progress", "compress", "decompress"]

Read = Callable[[int], bytes]
Write = Callable[[bytes], object]

_PIECE_BYTES = 1 << 20
# at the slowest levels 1 MiB takes seconds, and a job that is told to stop notices between two pieces
_SLOW_LEVEL = 13
_SLOW_PIECE_BYTES = 1 << 17
# what `zstd` itself allows without --long=31: a frame may ask for more only to make the decoder allocate it
_MAX_WINDOW_BYTES = 1 << 27


@dataclass(slots=True)
class Progress:
    """How far a job is. Written by its thread, read by the event loop at any moment; `stop` goes the other way."""

    read_bytes: int = 0
    written_bytes: int = 0
    phase: str = ""
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    def checkpoint(self) -> None:
        """JobCancelled: the job has been told to stop."""
        if self.stop.is_set():
            raise JobCancelled("cancelled")


def compress(read: Read, write: Write, progress: Progress, *, size_bytes: int, level: int) -> None:
    """Makes one frame, with the content's size and checksum. JobFailed: the input's size changed."""
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj(size=size_bytes)

    def put(piece: bytes) -> None:
        write(piece)
        progress.written_bytes += len(piece)

    piece_bytes = _PIECE_BYTES if level < _SLOW_LEVEL else _SLOW_PIECE_BYTES
    progress.checkpoint()
    while piece := read(piece_bytes):
        progress.read_bytes += len(piece)
        if progress.read_bytes > size_bytes:
            break
        put(compressor.compress(piece))
        progress.checkpoint()
    if progress.read_bytes != size_bytes:
        raise JobFailed("the input changed while it was being read")
    put(compressor.flush())


def decompress(read: Read, write: Write, progress: Progress) -> None:
    """Unpacks every frame of the input. JobFailed: it is not zstd data, or corrupt, or truncated."""
    source = _Source(read, progress)
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
        source,  # type: ignore[arg-type]  # all that is asked of it is read()
        read_size=_PIECE_BYTES,
        read_across_frames=True,
        closefd=False,
    )
    try:
        # reading bounded pieces bounds the memory: 32 KiB of input can hold 1 GiB
        while piece := reader.read(_PIECE_BYTES):
            write(piece)
            progress.written_bytes += len(piece)
            progress.checkpoint()
    except zstandard.ZstdError as error:
        raise JobFailed(f"the input is not valid zstd data: {str(error).rpartition(': ')[2]}") from None
    if progress.read_bytes == 0:
        raise JobFailed("the input is empty, which is not zstd data")
    if not source.frames.complete:
        raise JobFailed("the input is truncated: its last zstd frame is not whole")


class _Source:
    """What the decoder reads from: counts, follows the frames, and is where a cancelled job notices it."""

    def __init__(self, read: Read, progress: Progress) -> None:
        self.frames = FrameScanner()
        self._read = read
        self._progress = progress

    def read(self, size_bytes: int = -1) -> bytes:
        self._progress.checkpoint()
        piece = self._read(_PIECE_BYTES if size_bytes < 0 else size_bytes)
        self._progress.read_bytes += len(piece)
        self.frames.feed(piece)
        return piece
