"""Waiting for a condition that only polling can see (a process, a file, a counter), always with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["until", "until_answer"]

T = TypeVar("T")

_POLL_S = 0.005
_ASK_S = 0.05


async def until(condition: Callable[[], bool], *, within_s: float, what: str) -> float:
    """Waits until `condition()` is true; gives the seconds that it took. AssertionError, naming `what`: not in time."""
    started_s = time.monotonic()
    while not condition():
        if time.monotonic() - started_s > within_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        await asyncio.sleep(_POLL_S)  # the loop above is the deadline; nothing signals a child process's progress
    return time.monotonic() - started_s


async def until_answer(
    ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, within_s: float, what: str
) -> T:
    """Asks again and again until the answer is one that is wanted; gives it. AssertionError, naming `what` and the last
    answer: not in time."""
    started_s = time.monotonic()
    while not wanted(answer := await ask()):
        if time.monotonic() - started_s > within_s:
            raise AssertionError(f"not within {within_s} s: {what}; the last answer was {answer!r:.500}")
        await asyncio.sleep(_ASK_S)  # the loop above is the deadline
    return answer
