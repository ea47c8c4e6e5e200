"""Blocking calls that may hang."""

import asyncio
import threading

import pytest

from host_engine.errors import TooBusy
from host_engine.threads import Threads
from tests.kit.waiting import until


async def test_call_gives_its_result_or_its_error() -> None:
    threads = Threads(1)
    assert await threads.run("a", lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await threads.run("a", lambda: 1 // 0)


async def test_calls_beyond_the_bound_are_refused_until_one_returns() -> None:
    threads = Threads(1)
    release = threading.Event()
    hanging = threads.start("a", release.wait)
    with pytest.raises(TooBusy):
        threads.start("b", release.wait)
    release.set()
    await asyncio.wait_for(hanging, 2)
    assert await threads.run("b", lambda: 1) == 1


async def test_call_given_up_keeps_its_place_until_it_returns() -> None:
    """Or every look at a dead server would add a thread."""
    threads = Threads(5)
    release, returned = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait()
        returned.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(threads.run("a", hang), 0.01)
    assert threads.is_running("a")
    with pytest.raises(TooBusy):
        threads.start("a", hang)
    release.set()
    await until(lambda: not threads.is_running("a"), within_s=2, what="the call returns")
    assert returned.is_set()


async def test_thread_does_not_hold_up_the_exit() -> None:
    """The interpreter waits for threads that are not daemons."""
    assert await Threads(1).run("a", lambda: threading.current_thread().daemon)
