"""zstd, streaming: what goes in comes out, and what is broken is told."""

import io

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from host_engine.codec import Progress, compress, decompress
from host_engine.errors import JobCancelled, JobFailed

# long runs make long matches and RLE blocks, random bytes make raw ones
CONTENT = st.lists(
    st.binary(max_size=300)
    | st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 200_000)).map(lambda x: x[0] * x[1]),
    max_size=5,
).map(b"".join)


def packed(content: bytes, level: int = 3) -> bytes:
    out = io.BytesIO()
    compress(io.BytesIO(content).read, out.write, Progress(), size_bytes=len(content), level=level)
    return out.getvalue()


def unpacked(data: bytes) -> bytes:
    out = io.BytesIO()
    decompress(io.BytesIO(data).read, out.write, Progress())
    return out.getvalue()


@settings(max_examples=60)
@given(content=CONTENT, level=st.integers(1, 9))
def test_content_compressed_and_decompressed_is_the_same(content: bytes, level: int) -> None:
    assert unpacked(packed(content, level)) == content


@settings(max_examples=40)
@given(contents=st.lists(CONTENT, min_size=1, max_size=4))
def test_frames_one_after_the_other_are_all_decompressed(contents: list[bytes]) -> None:
    """As `zstd -d` does, and as `cat a.zst b.zst` needs it."""
    assert unpacked(b"".join(packed(content) for content in contents)) == b"".join(contents)


@settings(max_examples=60)
@given(content=CONTENT, data=st.data())
def test_input_cut_anywhere_is_told(content: bytes, data: st.DataObject) -> None:
    whole = packed(content)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(JobFailed, match=r"truncated|empty"):
        unpacked(whole[:cut])


def test_input_of_several_mebibytes_goes_through_in_pieces() -> None:
    """More than one piece in and out, and a skippable frame between frames."""
    skippable = (0x184D2A57).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    content = bytes(range(256)) * 20_000
    assert unpacked(packed(content) + skippable + packed(b"") + packed(b"end") + skippable) == content + b"end"


def test_input_corrupt_in_the_middle_is_told() -> None:
    whole = bytearray(packed(bytes(range(256)) * 50))
    whole[-1] ^= 1  # the checksum
    with pytest.raises(JobFailed, match="not valid"):
        unpacked(bytes(whole))


@pytest.mark.parametrize(
    "data", [b"not zstd at all", packed(b"x") + b"garbage behind it", b"\x28\xb5\x2f\xfd\xff\xff\xff\xff"]
)
def test_input_of_another_kind_is_told(data: bytes) -> None:
    with pytest.raises(JobFailed):
        unpacked(data)


def test_window_too_large_is_refused() -> None:
    """A few bytes must not make the engine allocate gigabytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    greedy = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(JobFailed, match="memory"):
        unpacked(greedy.compress(b"x" * 100) + greedy.flush())


def test_input_highly_compressed_comes_out_in_bounded_pieces() -> None:
    """A bomb's pieces stay small, however little of its input they came from."""
    sizes: list[int] = []
    decompress(io.BytesIO(packed(bytes(64 << 20))).read, lambda piece: sizes.append(len(piece)), Progress())
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("claimed", [5, 20])
def test_input_of_another_size_than_before_is_told(claimed: int) -> None:
    with pytest.raises(JobFailed, match="changed"):
        compress(io.BytesIO(b"0123456789").read, io.BytesIO().write, Progress(), size_bytes=claimed, level=3)


def test_work_told_to_stop_stops() -> None:
    progress = Progress()
    progress.stop.set()
    with pytest.raises(JobCancelled):
        compress(io.BytesIO(b"x").read, io.BytesIO().write, progress, size_bytes=1, level=3)
    with pytest.raises(JobCancelled):
        decompress(io.BytesIO(packed(b"x")).read, io.BytesIO().write, progress)


def test_progress_counts_both_sides() -> None:
    progress = Progress()
    compress(io.BytesIO(bytes(3 << 20)).read, io.BytesIO().write, progress, size_bytes=3 << 20, level=3)
    assert progress.read_bytes == 3 << 20
    assert 0 < progress.written_bytes < 10_000
