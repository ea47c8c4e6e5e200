"""The short form, for CI: ratios between servers on the same machine in the same minute, never times."""

import statistics
from dataclasses import dataclass

from bench.measures import Row, fan_out
from bench.servers import OURS, C

__all__ = ["Bound", "check", "run"]

_QUEUE = "aiohttp, queue per client"
_ROUNDS = 2
_TRIES = 2


@dataclass(frozen=True)
class Bound:
    """A ratio, and how bad it may be. Wider than the promise: a machine that runs tests beside this is not quiet."""

    what: str
    ratio: float
    at_most: float

    @property
    def holds(self) -> bool:
        return self.ratio <= self.at_most


def check(rows: list[Row]) -> list[Bound]:
    """The bounds of what was measured."""

    def cpu_us(server: str, rate: float) -> float:
        return statistics.median(
            row.values["cpu_us"] for row in rows if row.server == server and row.at.get("rate") == rate
        )

    missing = sum(row.values["missing"] for row in rows if row.server == OURS and row.measure == "fan_out")
    return [
        Bound("CPU per delivery, one event at a time, of the C sender's", cpu_us(OURS, 20) / cpu_us(C, 20), 1.9),
        Bound("the same, of the hub with a queue per client", cpu_us(OURS, 20) / cpu_us(_QUEUE, 20), 0.75),
        Bound("CPU per delivery at 800 events/s, of the same at 20", cpu_us(OURS, 800) / cpu_us(OURS, 20), 0.3),
        Bound(
            "CPU per delivery at 800 events/s, of the hub's, saturated", cpu_us(OURS, 800) / cpu_us(_QUEUE, 800), 0.6
        ),
        Bound("events that a client never got", missing, 0),
    ]


def run() -> int:
    """Measures and prints; 1 if a bound does not hold, twice."""
    for attempt in range(_TRIES):
        rows = [row for _ in range(_ROUNDS) for row in fan_out([OURS, C, _QUEUE], rates=(20.0, 800.0), seconds=0.8)]
        bounds = check(rows)
        for bound in bounds:
            print(f"{'ok  ' if bound.holds else 'FAIL'} {bound.what}: {bound.ratio:.3f} (at most {bound.at_most:.3f})")
        if all(bound.holds for bound in bounds):
            return 0
        print("again" if attempt + 1 < _TRIES else "a ratio is out of its bound")
    return 1
