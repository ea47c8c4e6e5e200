"""Memory that is free goes back to the machine.

glibc keeps what was freed between things that live on, and that for each of gRPC's threads apart. Nothing leaks, but a
program looks as if it did, and what it holds is missed elsewhere. Other C libraries have rules of their own.
"""

import asyncio
import ctypes

__all__ = ["give_back", "give_back_forever", "share_one_heap"]

_EVERY_S = 60.0
"""A call takes 2 ms where 200 MB are held, 10 ms where a quarter of them is given back: one thousandth of the time, at
the very most."""

_library = ctypes.CDLL(None)
_trim = getattr(_library, "malloc_trim", None)
_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """All threads take memory from one heap, so that one uses what another has freed. To be called before they start.

    They hardly ever do so at the same moment: there is one lock for all of Python anyway.
    """
    if _trim is not None:
        _library.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Gives the machine every whole page of memory in which nothing is left (malloc_trim(3)). Harmless at any time."""
    if _trim is not None:
        _trim(0)


async def give_back_forever(every_s: float = _EVERY_S) -> None:
    """Does so again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(every_s)
        give_back()
