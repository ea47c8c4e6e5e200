"""Every bad input is answered as promised, in the short form; `make badinput` measures what others notice of it."""

import math
import shutil
from collections import Counter

import pytest

from tests.badinput.inputs import INPUTS, PROMISES
from tests.badinput.run import Found, at_once, scene
from tests.badinput.table import is_kept, render


def found(answer: str, meanwhile_ms: float = 10.5, *, growth_bytes: int = 0, missing: int = 0) -> Found:
    return Found(INPUTS[0], Counter({answer: 5}), [10.0] * 3, [meanwhile_ms] * 3, growth_bytes, missing)


def test_every_promise_has_an_input() -> None:
    """In the order of the table, and no input twice."""
    assert list(dict.fromkeys(what.promise for what in INPUTS)) == list(PROMISES)
    names = [(what.promise, what.name) for what in INPUTS]
    assert len(set(names)) == len(names)


def test_what_is_not_kept_is_bold() -> None:
    """A wrong answer, events that come late or never, memory: each by itself."""
    right = INPUTS[0].answer
    assert is_kept(found(right))
    assert "**" not in render([found(right)], clients=3, rounds=3, machine="")
    for broken in (
        found("101"),
        found(right, 12.5),
        found(right, math.inf),
        found(right, growth_bytes=1 << 30),
        found(right, missing=1),
    ):
        assert not is_kept(broken)
        assert render([broken], clients=3, rounds=3, machine="").count("**") == 2


@pytest.mark.alone
@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("cc") is None, reason="the load client needs a C compiler, `cc`")
def test_every_bad_input_is_answered_and_others_are_served_meanwhile() -> None:
    """A hundred clients miss nothing while all inputs come together; how late events come is bounded widely here, since
    other tests may run beside this one."""
    with scene(100, niceness=0) as stage:
        quiet, every = at_once(stage)
        complaints = stage.complaints()
    assert complaints == []
    assert len(every) == len(INPUTS)
    assert {one.what.name: dict(one.answers) for one in every if not one.is_answered} == {}
    assert sum(one.missing for one in every) == 0
    assert max(one.growth_bytes for one in every) < 64 << 20
    assert max(one.meanwhile_ms[0] for one in every) < max(10 * quiet.p99_ms, 1000)
