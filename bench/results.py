"""The rows of a run, asked for medians, and held against what was promised."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measures import Row
from bench.servers import LIMITS, OURS, C

__all__ = ["Promise", "Table", "promises"]

_WS, _QUEUE = "Node ws", "aiohttp, queue per client"


@dataclass(frozen=True)
class Promise:
    """A figure that has to be reached, and what was measured."""

    what: str
    bound: str
    measured: str
    is_kept: bool


class Table:
    """The rows of a run, asked for medians."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def values(self, measure: str, name: str, server: str = OURS, **at: float) -> list[float]:
        """What every round measured; empty: nothing was."""
        return [
            row.values[name]
            for row in self.rows
            if row.measure == measure
            and row.server == server
            and name in row.values
            and all(row.at.get(key) == value for key, value in at.items())
        ]

    def median(self, measure: str, name: str, server: str = OURS, **at: float) -> float:
        """NaN: nothing was measured."""
        values = self.values(measure, name, server, **at)
        return statistics.median(values) if values else math.nan

    def has(self, measure: str) -> bool:
        return any(row.measure == measure for row in self.rows)

    def servers(self, measure: str) -> list[str]:
        return list(dict.fromkeys(row.server for row in self.rows if row.measure == measure))

    def steps(self, measure: str, key: str, server: str = OURS) -> list[float]:
        """The conditions under which it was measured, ascending."""
        return sorted({row.at[key] for row in self.rows if row.measure == measure and row.server == server})

    def saturated(self, server: str) -> float:
        """The most deliveries in a second of the server's core, at any rate that was offered."""
        rates = self.steps("fan_out", "rate", server)
        medians = [self.median("fan_out", "deliveries_per_cpu_s", server, rate=rate) for rate in rates]
        return max(medians, default=math.nan)


def promises(rows: Sequence[Row]) -> list[Promise]:
    """What issue and README promise, as far as this run has measured it."""
    t = Table(rows)
    kept: list[Promise] = []

    def promise(what: str, bound: str, measured: float, text: str, is_kept: Callable[[float], bool]) -> None:
        if not math.isnan(measured):
            kept.append(Promise(what, bound, text, is_kept(measured)))

    ours = t.median("fan_out", "cpu_us", rate=20)
    ratio = ours / t.median("fan_out", "cpu_us", C, rate=20)
    promise(
        "CPU per delivery, 1,000 clients, one event at a time",
        "1.5 × the C sender",
        ratio,
        f"{ratio:.2f} ×",
        _up_to(1.5),
    )
    peers = [server for server in t.servers("fan_out") if server not in (OURS, *LIMITS)]
    if peers:
        costs = {server: t.median("fan_out", "cpu_us", server, rate=20) for server in peers}
        best = min(costs, key=costs.__getitem__)
        promise(
            "the same, beside the best peer",
            "less",
            ours / costs[best],
            f"{ours:.1f} µs, {best} {costs[best]:.1f} µs",
            _up_to(1.0),
        )
    most = t.saturated(OURS)
    promise(
        "saturated, 1,000 clients, deliveries per CPU second",
        "600,000",
        most,
        f"{most:,.0f}",
        lambda value: value >= 6e5,
    )
    for peer, times in ((_WS, 8.0), (_QUEUE, 12.0)):
        promise(
            f"the same, beside {peer}",
            f"{times:g} ×",
            most / t.saturated(peer),
            f"{most / t.saturated(peer):.1f} ×",
            _at_least(times),
        )
    p99 = t.median("five_thousand", "p99_ms")
    gone = sum(t.values("five_thousand", "missing"))
    promise(
        "5,000 clients × 20 events/s, p99, none missing",
        "150 ms",
        p99,
        f"{p99:.0f} ms, {gone:.0f} missing",
        lambda value: value < 150 and gone == 0,
    )
    for rate in (100.0, 200.0, 400.0, 800.0):
        p99 = t.median("fan_out", "p99_ms", rate=rate)
        gone = sum(t.values("fan_out", "missing", rate=rate))
        text = f"{p99:.0f} ms, {gone:.0f} missing"
        promise(
            f"1,000 clients × {rate:.0f} events/s, p99, none missing",
            "60 ms",
            p99,
            text,
            lambda value, gone=gone: value < 60 and gone == 0,  # type: ignore[misc]
        )
    change = t.median("not_reading", "p99_ms", stalled=100) / t.median("not_reading", "p99_ms", stalled=0)
    promise("10 % of the clients do not read: the others' p99", "120 %", change, f"{change:.0%}", _up_to(1.2))
    p50, p99 = t.median("quiet", "p50_ms"), t.median("quiet", "p99_ms")
    promise("engine to socket, 100 clients, quiet, p50", "3 ms", p50, f"{p50:.1f} ms", _up_to(3.0))
    promise("the same, p99", "15 ms", p99, f"{p99:.1f} ms", _up_to(15.0))
    copied = t.median("copy", "events_per_s")
    promise("bridge to gateway, events/s", "40,000", copied, f"{copied:,.0f}", _at_least(40_000))
    memory = t.median("connect", "kb_per_connection", clients=5000)
    promise("memory per idle connection, over 5,000", "16 KB", memory, f"{memory:.1f} KB", _up_to(16.0))
    shakes = t.median("connect", "handshakes_per_cpu_s", clients=5000)
    promise("handshakes per CPU second", "2,000", shakes, f"{shakes:,.0f}", _at_least(2000))
    seconds = t.median("resume", "seconds")
    promise("2,000 clients resume", "2 s", seconds, f"{seconds:.2f} s", _up_to(2.0))
    kinds = [measure for measure in dict.fromkeys(row.measure for row in rows) if measure.startswith("translation ")]
    if kinds:
        ratios = {kind.partition(" ")[2]: t.median(kind, "ratio") for kind in kinds}
        worst = min(ratios, key=ratios.__getitem__)
        promise(
            "translation, beside json_format.MessageToJson, any message",
            "3.5 ×",
            ratios[worst],
            f"{ratios[worst]:.1f} × ({worst}) to {max(ratios.values()):.1f} ×",
            _at_least(3.5),
        )
    return kept


def _up_to(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound


def _at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound
