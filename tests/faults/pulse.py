"""A steady pulse of numbered events from a scripted engine, and how late each of them reached a client."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tests.kit import history
from tests.kit.history import StateKey, numbered_label
from tests.kit.record import Message, Received
from tests.kit.scripted_engine import ScriptedEngine

__all__ = ["BULK", "Pulse", "number", "percentile", "state_key"]

BULK = "bulk.state"
"""The type of the large state."""


class Pulse:
    """Pushes one event every `every_s`, from entering to leaving; an async context manager.

    One in `log_every` is a notification (n=1, n=2, …); the others are new values of one large state, `fill_bytes` of
    free data, which is what fills the buffers of whoever does not read.
    """

    def __init__(
        self, engine: ScriptedEngine, *, every_s: float = 0.05, log_every: int = 1, fill_bytes: int = 0
    ) -> None:
        self.labels: list[str] = []
        """Of the notifications pushed so far, in order."""
        self.values = 0
        """New values of the state so far; the last one is what it now holds."""
        self._engine = engine
        self._every_s = every_s
        self._log_every = log_every
        self._fill = "x" * fill_bytes
        self._pushed_s: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def mark(self) -> int:
        """How many notifications have been pushed, for `latencies_s`."""
        return len(self.labels)

    def latencies_s(self, came: Sequence[Received], *, since: int = 0, until: int | None = None) -> list[float]:
        """From push to receipt, of the notifications between two marks that came."""
        wanted = set(self.labels[since:until])
        return [
            received_s - self._pushed_s[label]
            for received_s, message in came
            if (label := numbered_label(message)) in wanted and label is not None
        ]

    async def stop(self) -> None:
        """Pushes no more. Stopping twice is allowed."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="pulse")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run(self) -> None:
        due_s = time.monotonic()
        beat = 0
        while True:
            beat += 1
            if beat % self._log_every == 0:
                label = f"n={len(self.labels) + 1}"
                self.labels.append(label)
                self._pushed_s[label] = time.monotonic()
                self._engine.notify(label)
            else:
                self.values += 1
                self._engine.push_other(BULK, {"value": self.values, "fill": self._fill}, key="bulk")
            due_s += self._every_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))


def number(count: int) -> Callable[[Message], bool]:
    """For `wait_for`: the notification of that number, in its turn."""
    return lambda message: numbered_label(message) == f"n={count}"


def state_key(message: history.Message) -> StateKey | None:
    """As that of the kit, and knows the large state."""
    return (BULK, "bulk") if message.get("type") == BULK else history.state_key(message)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values does not exceed. ValueError: there are none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
