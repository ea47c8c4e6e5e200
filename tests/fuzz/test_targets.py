"""Every target of `make fuzz` also with hypothesis, which needs no more than the tests do."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

_PIECES = st.sampled_from(sorted({sample for _, samples in TARGETS.values() for sample in samples}))
"""Samples of one target in another are nonsense too."""


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample in which a part is replaced."""
    sample = draw(_PIECES)
    begin = draw(st.integers(0, len(sample)))
    end = draw(st.integers(begin, len(sample)))
    return sample[:begin] + draw(st.binary(max_size=12) | _PIECES) + sample[end:]


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200) | mutated())
@example(data=b"")
@example(data=b"[" * 100_000)
@example(data=b"\xff" * 100)
def test_no_bytes_whatever_fail(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_good(name: str) -> None:
    target, samples = TARGETS[name]
    for sample in samples:
        target(sample)
