"""When the gateway looks for reference cycles."""

import asyncio
import gc

import pytest

from ws_gateway.garbage import collect_forever, is_due


@pytest.mark.parametrize(
    ("left", "connected", "due"),
    [(999, 0, False), (1000, 0, True), (1000, 2000, True), (2499, 5000, False), (2500, 5000, True)],
)
def test_garbage_is_due_once_a_thousand_clients_or_half_of_the_present_ones_have_left(
    left: int, connected: int, due: bool
) -> None:
    """What they left behind stays below half of what the present ones take."""
    assert is_due(left, connected) is due


async def test_collecting_ends_with_the_thresholds_that_there_were() -> None:
    """Nothing of the gateway's outlives it."""
    before = gc.get_threshold()
    task = asyncio.create_task(collect_forever(lambda: 0, lambda: 0))
    await asyncio.sleep(0)
    assert gc.get_threshold()[2] > before[2]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gc.get_threshold() == before
