"""Draws the plots of the report."""

import math
from collections.abc import Mapping
from pathlib import Path

from bench.results import Table
from bench.servers import LIMITS, OURS

__all__ = ["draw"]


def draw(t: Table, place: Path) -> list[str]:
    """Draws what there are rows for; gives the files' names. Nothing without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    mpl.use("Agg")
    from matplotlib import pyplot

    place.mkdir(parents=True, exist_ok=True)
    made: list[str] = []

    def lines(name: str, measure: str, key: str, value: str, heads: tuple[str, str], *, log_y: bool = True) -> None:
        if not t.has(measure):
            return
        figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
        for server in t.servers(measure):
            points = [(step, t.median(measure, value, server, **{key: step})) for step in t.steps(measure, key, server)]
            points = [(x, y) for x, y in points if math.isfinite(y)]
            width = 2.5 if server == OURS else 1.2
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", linewidth=width, label=server)
        axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(heads[0])
        axes.set_ylabel(heads[1])
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(fontsize="small")
        figure.savefig(place / f"{name}.png", dpi=110)
        pyplot.close(figure)
        made.append(f"{name}.png")

    def bars(name: str, head: str, values: Mapping[str, float]) -> None:
        shown = {server: value for server, value in values.items() if math.isfinite(value)}
        if not shown:
            return
        figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(shown) + 1.2), layout="constrained")
        order = sorted(shown, key=shown.__getitem__)
        colours = ["tab:orange" if server == OURS else "tab:blue" for server in order]
        axes.bar_label(axes.barh(order, [shown[server] for server in order], color=colours), fmt="{:,.4g}", padding=3)
        axes.set_xlabel(head)
        axes.margins(x=0.12)
        figure.savefig(place / f"{name}.png", dpi=110)
        pyplot.close(figure)
        made.append(f"{name}.png")

    rate = "events a second to 1,000 clients"
    lines("cpu_by_rate", "fan_out", "rate", "cpu_us", (rate, "CPU per delivery, µs"))
    lines("p50_by_rate", "fan_out", "rate", "p50_ms", (rate, "p50, ms"))
    lines("p99_by_rate", "fan_out", "rate", "p99_ms", (rate, "p99, ms"))
    servers = t.servers("fan_out")
    bars("saturated", "deliveries per CPU second, at most", {server: t.saturated(server) for server in servers})
    connected = t.servers("connect")
    memory = {server: t.median("connect", "kb_per_connection", server, clients=1000) for server in connected}
    bars("memory", "KB per idle connection, over 1,000", {s: kb for s, kb in memory.items() if kb > 1})
    shakes = {server: t.median("connect", "handshakes_per_cpu_s", server, clients=1000) for server in connected}
    bars("handshakes", "handshakes per CPU second", {s: n for s, n in shakes.items() if s not in LIMITS})
    clients = "clients, 10 events/s"
    lines("cpu_by_clients", "growth_clients", "clients", "cpu_us", (clients, "CPU per delivery, µs"))
    lines("p99_by_clients", "growth_clients", "clients", "p99_ms", (clients, "p99, ms"))
    size = "bytes an event, 1,000 clients, 20 events/s"
    lines("cpu_by_bytes", "growth_bytes", "bytes", "cpu_us", (size, "CPU per delivery, µs"), log_y=False)
    topics = "topics, 1,000 clients with one each"
    lines("cpu_by_topics", "growth_topics", "topics", "cpu_us", (topics, "CPU per delivery, µs"), log_y=False)
    return made
