"""Where zstd frames begin and end (RFC 8878, section 3.1), to tell a whole input from a truncated one.

The decoder's stream reader ends quietly when its input does, in the middle of a frame too. Pure: bytes in, verdict out.
"""

from enum import Enum, auto

__all__ = ["FrameScanner"]

_MAGIC = 0xFD2FB528
_SKIPPABLE_MAGIC = 0x184D2A50
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE = 1


class _At(Enum):
    MAGIC = auto()
    SKIPPABLE_SIZE = auto()
    DESCRIPTOR = auto()
    BLOCK = auto()


class FrameScanner:
    """Follows the frames of an input that comes in pieces. What is wrong in other ways is left to the decoder."""

    def __init__(self) -> None:
        self._at = _At.MAGIC
        self._needed_bytes = 4
        self._held = b""
        self._skip_bytes = 0
        self._has_checksum = False
        self._any_frame = False
        self._garbage = False

    @property
    def complete(self) -> bool:
        """Whether the input so far is one or more whole frames and nothing else."""
        at_boundary = self._at is _At.MAGIC and not self._held and not self._skip_bytes
        return self._any_frame and at_boundary and not self._garbage

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes of the input."""
        offset = 0
        size = len(piece)
        while offset < size and not self._garbage:
            if self._skip_bytes:
                step = min(self._skip_bytes, size - offset)
                self._skip_bytes -= step
                offset += step
                continue
            end = offset + self._needed_bytes - len(self._held)
            field = self._held + piece[offset:end]
            offset = min(end, size)
            if len(field) < self._needed_bytes:
                self._held = field
                return
            self._held = b""
            self._take(int.from_bytes(field, "little"))

    def _take(self, field: int) -> None:
        if self._at is _At.BLOCK:
            is_last, kind, size = field & 1, field >> 1 & 3, field >> 3
            self._skip_bytes = 1 if kind == _RLE else size
            if is_last:
                self._skip_bytes += 4 * self._has_checksum
                self._expect(_At.MAGIC, 4)
        elif self._at is _At.MAGIC:
            self._any_frame = True
            if field == _MAGIC:
                self._expect(_At.DESCRIPTOR, 1)
            elif field & 0xFFFFFFF0 == _SKIPPABLE_MAGIC:
                self._expect(_At.SKIPPABLE_SIZE, 4)
            else:
                self._garbage = True
        elif self._at is _At.DESCRIPTOR:
            single_segment = field >> 5 & 1
            content_size = _CONTENT_SIZE_BYTES[field >> 6] or single_segment
            self._has_checksum = bool(field >> 2 & 1)
            self._skip_bytes = (1 - single_segment) + _DICTIONARY_ID_BYTES[field & 3] + content_size
            self._expect(_At.BLOCK, 3)
        else:
            self._skip_bytes = field
            self._expect(_At.MAGIC, 4)

    def _expect(self, at: _At, needed_bytes: int) -> None:
        self._at = at
        self._needed_bytes = needed_bytes
