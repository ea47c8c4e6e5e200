"""When Python looks for reference cycles among everything there is.

With 5,000 clients that takes a quarter of a second in which nobody is served, and by default it happens again and again
while clients come (two thirds of the work of a reconnect storm) and now and then while events pass. But only clients
that leave leave cycles behind, and those that leave at once, an attack of them say, leave theirs among the younger
objects, which Python looks through anyway.
"""

import asyncio
import gc
from collections.abc import Callable

__all__ = ["collect_forever", "is_due"]

_YOUNG = 1000
"""Runs over the younger objects before Python considers all of them by itself: for what no leaving tells of."""
_LEAST = 1000
"""Clients that leave some 15 KB each behind before it is worth a run."""
_LOOK_S = 1.0


def is_due(left: int, connected: int) -> bool:
    """Whether to look for garbage, when so many clients have left since the last time: what they left behind stays
    below half of what the present ones take, and the cost of a run, which grows with these, is shared by many."""
    return left >= max(_LEAST, connected // 2)


async def collect_forever(left_count: Callable[[], int], connected_count: Callable[[], int]) -> None:
    """Runs until it is cancelled. `left_count`: how many clients have left since the start, who had been there for a
    while."""
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], _YOUNG)
    collected = 0
    try:
        while True:
            await asyncio.sleep(_LOOK_S)
            left = left_count()
            if is_due(left - collected, connected_count()):
                gc.collect()
                collected = left
    finally:
        gc.set_threshold(*before)
