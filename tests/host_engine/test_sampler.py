"""Collectors in the background."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from host_engine.errors import NotCollected
from host_engine.roster import Worker
from host_engine.sampler import Sampler


def sampler(collect: Callable[[], Awaitable[int]], **options: object) -> Sampler[int]:
    values: dict[str, object] = {"interval_s": 10.0, "deadline_s": 0.05, **options}
    return Sampler(Worker("collector", "", "", ""), collect, **values)  # type: ignore[arg-type]  # options of the test


class Scripted:
    """A collector that gives what it is told to."""

    def __init__(self, *results: int | Exception) -> None:
        self._results = list(results)
        self.looks_count = 0

    async def __call__(self) -> int:
        self.looks_count += 1
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


async def test_value_before_the_first_look_is_not_there() -> None:
    with pytest.raises(NotCollected):
        sampler(Scripted()).latest()


async def test_value_is_that_of_the_last_look() -> None:
    seen: list[int] = []
    tested = sampler(Scripted(1, 2), on_value=seen.append)
    await tested.look()
    await tested.look()
    assert (tested.latest(), seen) == (2, [1, 2])


async def test_value_after_a_failed_look_is_not_shown_as_the_present() -> None:
    tested = sampler(Scripted(1, PermissionError("no"), 3))
    await tested.look()
    await tested.look()
    with pytest.raises(NotCollected):
        tested.latest()
    await tested.look()
    assert tested.latest() == 3


async def test_look_that_hangs_is_given_up() -> None:
    async def hang() -> int:
        await asyncio.Event().wait()
        return 1

    tested = sampler(hang)
    await asyncio.wait_for(tested.look(), 2)
    with pytest.raises(NotCollected):
        tested.latest()


async def test_value_too_old_is_not_shown() -> None:
    """Looks that do not come any more, because the loop is held up, say."""
    tested = sampler(Scripted(1), interval_s=0.01)
    await tested.look()
    deadline_s = asyncio.get_running_loop().time() + 2
    with pytest.raises(NotCollected):  # noqa: PT012 - until it raises, or the deadline
        while asyncio.get_running_loop().time() < deadline_s:
            tested.latest()
            await asyncio.sleep(0)


async def test_looks_come_at_their_interval() -> None:
    third = asyncio.Event()
    collect = Scripted(*range(100))

    def seen(value: int) -> None:
        if value == 2:
            third.set()

    tested = sampler(collect, interval_s=0.05, on_value=seen)
    task = asyncio.create_task(tested.run(), name="sampler under test")
    begun_s = asyncio.get_running_loop().time()
    await asyncio.wait_for(third.wait(), 5)
    assert asyncio.get_running_loop().time() - begun_s >= 0.14
    task.cancel()
    await asyncio.wait({task})
