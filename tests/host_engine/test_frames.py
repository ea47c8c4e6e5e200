"""Whole inputs are told from truncated ones, however the pieces fall."""

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from host_engine.frames import FrameScanner

SKIPPABLE = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"


def frame(content: bytes, level: int, *, with_size: bool, with_checksum: bool) -> bytes:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=with_checksum, write_content_size=with_size)
    stream = compressor.compressobj(size=len(content) if with_size else -1)
    return stream.compress(content) + stream.flush()


FRAME = st.just(SKIPPABLE) | st.builds(
    frame,
    st.binary(max_size=400) | st.integers(0, 400_000).map(bytes),
    st.integers(1, 5),
    with_size=st.booleans(),
    with_checksum=st.booleans(),
)


def verdict(*pieces: bytes) -> bool:
    scanner = FrameScanner()
    for piece in pieces:
        scanner.feed(piece)
    return scanner.complete


@given(frames=st.lists(FRAME, min_size=1, max_size=4), size=st.integers(1, 50))
def test_frames_whole_are_complete_in_pieces_of_any_size(frames: list[bytes], size: int) -> None:
    data = b"".join(frames)
    assert verdict(*(data[at : at + size] for at in range(0, len(data), size)))


@given(frames=st.lists(FRAME, min_size=1, max_size=4), data=st.data())
def test_frames_cut_are_complete_only_between_two(frames: list[bytes], data: st.DataObject) -> None:
    """A cut that falls exactly between two frames cannot be seen by anybody."""
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole) - 1))
    ends = {sum(map(len, frames[:count])) for count in range(1, len(frames))}
    assert verdict(whole[:cut]) == (cut in ends)


def test_input_empty_is_not_complete() -> None:
    assert not verdict()


def test_input_with_anything_behind_is_not_complete() -> None:
    assert not verdict(SKIPPABLE, b"x")
    assert not verdict(SKIPPABLE, b"what is this")
