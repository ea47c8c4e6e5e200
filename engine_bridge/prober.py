"""One cheap health question a second while anything about the engine fails, so that its return is noticed at once."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from engine_bridge.engines import OVERTIME_S, Engine
from engine_bridge.source import Source

__all__ = ["Prober"]

log = structlog.get_logger()

_PERIOD_S = 1.0


class Prober:
    """Asks for the whole engine, whatever the number of its sources that fail."""

    def __init__(
        self,
        engine: Engine,
        sources: Sequence[Source],
        *,
        on_health: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._sources = sources
        self._on_health = on_health
        self._clock = clock
        self._suspicion = asyncio.Event()
        self.healthy = True
        for source in sources:
            source.on_failure = self._suspicion.set

    async def run(self) -> None:
        """Runs until it is cancelled. No timer runs while all is well."""
        while True:
            self._suspicion.clear()
            await self._suspicion.wait()
            was_down, first = False, True
            while any(source.is_failing for source in self._sources):
                asked_at_s = self._clock()
                healthy = await self._ask()
                if healthy:
                    self._revive(after_outage=was_down, with_off=was_down or first)
                was_down, first = not healthy, False
                self._set(healthy)
                await asyncio.sleep(max(0.0, _PERIOD_S - (self._clock() - asked_at_s)))
            self._set(True)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(_PERIOD_S + OVERTIME_S):
                return await self._engine.is_healthy(_PERIOD_S)
        except TimeoutError:
            return False
        except Exception:  # the adapter's own mistake must not end the topics
            log.exception("adapter_failed", topic="health")
            return False

    def _revive(self, *, after_outage: bool, with_off: bool) -> None:
        """`with_off`: the engine may have been replaced, so what the one before lacked is looked for again."""
        for source in self._sources:
            if source.is_failing or (with_off and source.off):
                source.revive(after_outage=after_outage)

    def _set(self, healthy: bool) -> None:
        if healthy != self.healthy:
            log.log(20 if healthy else 30, "engine_health", healthy=healthy)
            self.healthy = healthy
            self._on_health(healthy)
