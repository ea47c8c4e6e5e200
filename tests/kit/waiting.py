"""Waiting for a condition that only polling can see (a process, a file, a counter), always with a deadline."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["until"]

_POLL_S = 0.005


async def until(condition: Callable[[], bool], *, within_s: float, what: str) -> float:
    """Waits until `condition()` is true; gives the seconds that it took. AssertionError, naming `what`: not in time."""
    started_s = time.monotonic()
    while not condition():
        if time.monotonic() - started_s > within_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        await asyncio.sleep(_POLL_S)  # the loop above is the deadline; nothing signals a child process's progress
    return time.monotonic() - started_s
