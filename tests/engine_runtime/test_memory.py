"""What was freed between things that live on goes back to the machine."""

import asyncio
import contextlib
import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from engine_runtime.memory import give_back, give_back_forever
from tests.kit.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc only")

_REPOSITORY = Path(__file__).parents[2]
_HELD_BYTES = 3000 * 20_000
"""In blocks that are too large for Python's own allocator and too small to be mapped one by one."""


def _rss_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def _full_of_holes() -> list[bytearray]:
    """One block in fifty stays: none of the others' memory is at the end, where glibc would give it back by itself."""
    blocks = [bytearray(3000) for _ in range(_HELD_BYTES // 3000)]
    return blocks[::50]


def test_memory_between_what_stays_is_given_back() -> None:
    kept = _full_of_holes()
    before = _rss_bytes()
    give_back()
    assert before - _rss_bytes() > 0.5 * _HELD_BYTES
    assert not any(any(block) for block in kept)


async def test_it_is_given_back_again_and_again() -> None:
    giving_back = asyncio.create_task(give_back_forever(every_s=0.01))
    await _holes_are_given_back()
    await _holes_are_given_back()
    giving_back.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await giving_back


_ANOTHER_THREAD = """
import threading
from engine_runtime.memory import share_one_heap
from tests.engine_runtime.test_memory import _full_of_holes, _rss_bytes
share = {share}
if share:
    share_one_heap()
kept = _full_of_holes()
before = _rss_bytes()
thread = threading.Thread(target=lambda: kept.extend(bytearray(3000) for _ in range(10_000)))
thread.start()
thread.join()
print(_rss_bytes() - before)
"""


@pytest.mark.parametrize("share", [True, False])
def test_what_one_thread_has_freed_another_uses(share: bool) -> None:
    """Half as much as there is room for between what the first has kept. By default it has memory of its own."""
    child = [sys.executable, "-c", _ANOTHER_THREAD.format(share=share)]
    grown = int(subprocess.run(child, check=True, capture_output=True, text=True, cwd=_REPOSITORY).stdout)
    assert (grown < 0.1 * _HELD_BYTES) is share


async def _holes_are_given_back() -> None:
    kept = _full_of_holes()
    before = _rss_bytes()
    await until(lambda: before - _rss_bytes() > 0.5 * _HELD_BYTES, within_s=10, what="memory is given back")
    assert not any(any(block) for block in kept)
