"""What each program takes over time: memory, descriptors, threads, tasks; and how fast that grows."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.kit.programs import Program

__all__ = ["Gauge", "Run", "Sample", "slope_per_hour"]

_MOST_POINTS = 400


@dataclass(frozen=True)
class Sample:
    """One look at a program."""

    at_s: float
    """time.monotonic()"""
    rss_mb: float
    descriptors: int
    threads: int
    tasks: int | None
    """asyncio tasks, where the program tells."""


@dataclass
class Run:
    """One process, from its start to its end."""

    pid: int
    samples: list[Sample] = field(default_factory=list)

    def after(self, warm_up_s: float) -> list[Sample]:
        """The samples from so long after its start on."""
        return [sample for sample in self.samples if sample.at_s - self.samples[0].at_s >= warm_up_s]

    @property
    def seconds(self) -> float:
        return self.samples[-1].at_s - self.samples[0].at_s if self.samples else 0.0


class Gauge:
    """Looks at one program, again and again, over all its runs; of each but the longest only that is kept."""

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self.restarts = -1
        self.longest = Run(0)
        self._program = program
        self._run = Run(0)

    def look(self, tasks: int | None = None) -> None:
        """One sample; none if the program does not run."""
        try:
            pid = self._program.pid
            sample = Sample(
                time.monotonic(),
                self._program.rss_bytes() / 1e6,
                self._program.descriptor_count(),
                self._program.thread_count(),
                tasks,
            )
        except (OSError, AssertionError, ValueError):
            return  # it was killed, or is just becoming what it is to be
        if pid != self._run.pid:
            self._run = Run(pid)
            self.restarts += 1
        self._run.samples.append(sample)
        if self._run.seconds >= self.longest.seconds:
            self.longest = self._run


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen), in units an hour; 0 for fewer than two points.

    A few wild points do not move it.
    """
    step = max(1, len(points) // _MOST_POINTS)
    thinned = points[::step]
    slopes = [
        (later - earlier) / (then_s - first_s)
        for index, (first_s, earlier) in enumerate(thinned)
        for then_s, later in thinned[index + 1 :]
        if then_s > first_s
    ]
    return statistics.median(slopes) * 3600 if slopes else 0.0
