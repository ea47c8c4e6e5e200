"""A collector in the background: looks at regular times, and answers with its last look while that is recent."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from host_engine.errors import NotCollected
from host_engine.roster import Worker

__all__ = ["Sampler"]

log = structlog.get_logger()

T = TypeVar("T")

# a look may be late on a busy machine before the one before it is not the present state any more
_RECENT_LOOKS = 3


class Sampler(Generic[T]):
    """Keeps what `collect` gave last."""

    def __init__(
        self,
        worker: Worker,
        collect: Callable[[], Awaitable[T]],
        *,
        interval_s: float,
        deadline_s: float,
        on_value: Callable[[T], None] = lambda _value: None,
    ) -> None:
        """`deadline_s`: for one look. `on_value`: called with each new value, before anybody else can see it."""
        self._worker = worker
        self._collect = collect
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._on_value = on_value
        self._value: T | None = None
        self._taken_s = 0.0
        self._failing = False
        self._looks_count = 0

    def latest(self) -> T:
        """NotCollected: the last look failed, or is too long ago."""
        if self._value is None or self._failing or time.monotonic() - self._taken_s > _RECENT_LOOKS * self._interval_s:
            raise NotCollected(f"no recent figures: {self._worker.worker_id} fails")
        return self._value

    async def run(self) -> None:
        """Looks until it is cancelled. The times do not drift; one that was missed is left out."""
        next_s = time.monotonic() + self._interval_s
        while True:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            await self.look()
            missed = max(0, int((time.monotonic() - next_s) / self._interval_s))
            next_s += (1 + missed) * self._interval_s

    async def look(self) -> None:
        """One look; its failure is logged once and kept until the next."""
        self._looks_count += 1
        begun_s = time.monotonic()
        self._worker.begin(f"look-{self._looks_count}", "collect", now_s=begun_s, wall_s=time.time())
        succeeded = False
        try:
            async with asyncio.timeout(self._deadline_s):
                value = await self._collect()
            self._on_value(value)
            self._value, self._taken_s = value, begun_s
            succeeded = True
        except Exception as error:  # noqa: BLE001 - whatever a collector trips over, the next look may succeed
            if not self._failing:
                log.warning("collector_failing", collector=self._worker.worker_id, error=repr(error))
        else:
            if self._failing:
                log.info("collector_recovered", collector=self._worker.worker_id)
        finally:
            self._failing = not succeeded
            self._worker.finish(succeeded=succeeded, now_s=time.monotonic(), wall_s=time.time())
