"""Writes bench/RESULTS.md from the rows of one run. Every figure in it was measured by that run."""

import math
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import plots
from bench.measures import Row
from bench.processes import OUT, REPOSITORY
from bench.results import Table, promises
from bench.servers import CENTRIFUGO, OURS, PYTHON, C

__all__ = ["write"]


def write(rows: Sequence[Row], missing: Mapping[str, str], *, rounds: int, minutes: float, is_whole: bool) -> Path:
    """Writes the report; that of a run of some measures only goes beside the rows, not in place of the whole one."""
    place = REPOSITORY / "bench" if is_whole else OUT
    table = Table(rows)
    drawn = plots.draw(table, place / "plots")
    text = "\n\n".join(_sections(table, missing, drawn, rounds, minutes)) + "\n"
    path = place / "RESULTS.md"
    path.write_text(text)
    return path


def _sections(t: Table, missing: Mapping[str, str], drawn: Sequence[str], rounds: int, minutes: float) -> Iterable[str]:
    yield (
        "# What the bench measured\n\n"
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}, {rounds} interleaved rounds, {minutes:.0f} minutes. "
        "Each figure is the median of the rounds, in brackets the least and the most. Compare ratios: the times belong "
        "to this machine."
    )
    yield "## The machine and the versions\n\n" + _machine()
    yield _HOW
    kept = promises(t.rows)
    if kept:
        cells = [[p.what, p.bound, p.measured, "yes" if p.is_kept else "**no**"] for p in kept]
        yield "## Promised and measured\n\n" + _table(["measure", "at least", "measured", "kept"], cells)
    if t.has("fan_out"):
        yield _fan_out_text(t)
    if t.has("split"):
        yield _split_text(t)
    if t.has("five_thousand"):
        yield _five_thousand_text(t)
    if t.has("connect"):
        yield _connect_text(t)
    if t.has("quiet"):
        yield _quiet_text(t)
    if t.has("not_reading"):
        yield _not_reading_text(t)
    if t.has("copy") or t.has("resume"):
        yield _start_text(t)
    if t.has("growth_clients"):
        yield _growth_text(t)
    translated = [row.measure for row in t.rows if row.measure.startswith("translation ")]
    if translated:
        cells = [
            [
                kind.partition(" ")[2],
                _spread(t.values(kind, "ours_us")),
                _spread(t.values(kind, "json_format_us")),
                f"{t.median(kind, 'ratio'):.1f}",
            ]
            for kind in dict.fromkeys(translated)
        ]
        write_us, read_us, text_us = (t.median("free_data", f"{step}_us") for step in ("write", "read", "text"))
        yield (
            "## Payload to JSON text, µs\n\n"
            + _table(["message", "ours", "MessageToJson", "ratio"], cells)
            + f"\n\nOf the Struct's time protobuf takes {write_us:.1f} µs to write it as bytes, and orjson "
            f"{text_us:.1f} µs to write it as text. The {read_us:.1f} µs between are Python reading ten values in two "
            "objects and a list from these bytes: a name, a length, a kind and a value are some ten steps of the "
            "interpreter each. To ask protobuf for each value, as `json_format` does, makes a Python object of each "
            "and takes longer."
        )
    if drawn:
        yield "## Plots\n\n" + "\n".join(f"![{Path(plot).stem.replace('_', ' ')}](plots/{plot})" for plot in drawn)
    left_out = [f"- {name}: {why}" for name, why in missing.items()]
    left_out += [f"- {name}: {why}" for name, why in _NOT_HERE.items()]
    yield "## Left out\n\n" + "\n".join(left_out)
    disturbed = statistics.median(values) if (values := t.values("fan_out", "other_busy")) else math.nan
    if not math.isnan(disturbed):
        worst = max(t.values("fan_out", "other_busy"))
        yield (
            "## How quiet it was\n\n"
            "Share of the server's core that was used by something else during the fan-out runs of our gateway: "
            f"{disturbed:.0%} in the median run, {worst:.0%} in the worst."
        )


_NOT_HERE = {
    "AnyCable": "the module proxy refuses this module, and its npm package fetches the program from elsewhere",
}

_HOW = """## How

The server under test has one core to itself. The load client (`load.c`), the publisher and, for us, the bench engine
and the real bridge share the other. Every server is started anew in every round, one after the other, and fed events
of 300 bytes as they are on the WebSocket, at a rate that does not depend on how it fares (open loop): ours as
protobuf, from an engine over gRPC through the bridge; the others as finished JSON, a line each over TCP, NATS by its
own protocol, Centrifugo by its HTTP API, in batches of what is new. Each event holds its number and the nanosecond at
which it was made; each client checks that the numbers go up by one.

CPU is user and system time of all threads of the server's process, from the scheduler's own count in nanoseconds,
over the deliveries in the same time. The client rests 0.3 ms after each look at its sockets (not in the quiet
measure, and not while connecting), or each send would have to wake it, which on one machine is charged to the server:
up to 3 µs, at random. This adds up to 0.3 ms to latencies. An event that never came counts as infinitely late (∞)."""


def _machine() -> str:
    lines = [
        f"- {os.cpu_count()} × {_cpu_name()}, Linux {platform.release().partition('-')[0]}",
        f"- Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in ("aiohttp", "grpcio", "protobuf", "orjson", "websockets")),
    ]
    others = {"Node": ["node", "--version"], "NATS": ["nats-server", "--version"], "C compiler": ["cc", "--version"]}
    lines += [f"- {name}: {said}" for name, command in others.items() if (said := _said(command))]
    for package in ("ws", "socket.io"):
        manifest = OUT / "node" / "node_modules" / package / "package.json"
        if manifest.exists():
            line = next(line for line in manifest.read_text().splitlines() if '"version"' in line)
            lines.append(f"- {package} {line.split(chr(34))[3]}")
    lines.append(f"- {CENTRIFUGO}")
    return "\n".join(lines)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _said(command: list[str]) -> str:
    program = shutil.which(command[0], path=os.pathsep.join([str(REPOSITORY / ".venv" / "bin"), os.environ["PATH"]]))
    if program is None:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else ""


def _fan_out_text(t: Table) -> str:
    rates = sorted({row.at["rate"] for row in t.rows if row.measure == "fan_out"})
    servers = t.servers("fan_out")
    base = t.median("fan_out", "cpu_us", C, rate=20)
    costs = [
        [
            server,
            f"{t.median('fan_out', 'cpu_us', server, rate=20) / base:.2f}",
            *(_spread(t.values("fan_out", "cpu_us", server, rate=rate)) for rate in rates),
            f"{t.saturated(server):,.0f}",
        ]
        for server in servers
    ]
    latencies = [
        [
            server,
            *(
                f"{_number(t.median('fan_out', 'p50_ms', server, rate=rate))} / "
                f"{_spread(t.values('fan_out', 'p99_ms', server, rate=rate))}"
                if t.values("fan_out", "p50_ms", server, rate=rate)
                else ""
                for rate in rates
            ),
        ]
        for server in servers
    ]
    heads = [f"{rate:g}/s" for rate in rates]
    return (
        "## 1,000 clients, events a second offered\n\n"
        "CPU per delivery, µs; × C: at 20 events/s, of the C program's. A server whose row ends early collapsed at its "
        "last rate: a client missed events, or p99 was above a second.\n\n"
        + _table(["server", "× C", *heads, "deliveries per CPU second, at most"], costs)
        + "\n\nLatency, ms, p50 / p99:\n\n"
        + _table(["server", *heads], latencies)
    )


def _split_text(t: Table) -> str:
    names = ("own_us", "kernel_us", "others_us")
    cells = [
        [
            server,
            *(_spread(t.values("split", name, server)) for name in names),
            f"{sum(t.median('split', name, server) for name in names):.2f}",
        ]
        for server in t.servers("split")
    ]
    return (
        "## Where the time of a delivery goes\n\n"
        "1,000 clients, 20 events/s, µs a delivery: the program's own time, the kernel's (one `send` each), and that "
        "of all other threads, which are gRPC's. The first row is what an event costs by itself, as if 1,000 shared "
        f"it: gRPC, translation, the journal. *{PYTHON}* has an asyncio transport for each client, writes the framed "
        "event to it and does nothing else (bench/peers/bare_writes.py).\n\n"
        + _table(["server", "own, µs", "kernel, µs", "other threads, µs", "all, µs"], cells)
    )


def _five_thousand_text(t: Table) -> str:
    cells = [
        [
            server,
            *(_spread(t.values("five_thousand", name, server)) for name in ("cpu_us", "p50_ms", "p99_ms")),
            f"{t.median('five_thousand', 'server_busy', server):.0%}",
            f"{t.median('five_thousand', 'delivered_share', server):.1%}",
        ]
        for server in t.servers("five_thousand")
    ]
    return "## 5,000 clients × 20 events/s\n\n" + _table(
        ["server", "CPU per delivery, µs", "p50, ms", "p99, ms", "of its core", "delivered"], cells
    )


def _connect_text(t: Table) -> str:
    counts = sorted({row.at["clients"] for row in t.rows if row.measure == "connect"})
    cells = [
        [
            server,
            *(
                _spread(t.values("connect", name, server, clients=count))
                for count in counts
                for name in ("kb_per_connection", "handshakes_per_cpu_s")
            ),
        ]
        for server in t.servers("connect")
    ]
    heads = [f"{what}, {count:,.0f} clients" for count in counts for what in ("KB each", "handshakes per CPU s")]
    return "## Connections\n\nMemory of the process, and handshakes as fast as it takes them.\n\n" + _table(
        ["server", *heads], cells
    )


def _quiet_text(t: Table) -> str:
    whole50, whole99 = t.median("quiet", "p50_ms"), t.median("quiet", "p99_ms")
    hops = [("engine to the bridge's journal", "engine_to_bridge"), ("journal to a gRPC reader", "bridge_to_reader")]
    halves = [(name, t.median("quiet", f"{key}_p50_ms"), t.median("quiet", f"{key}_p99_ms")) for name, key in hops]
    left = whole50 - sum(p50 for _, p50, _ in halves)
    cells = [[name, f"{p50:.2f}", f"{p99:.2f}", f"{p50 / whole50:.0%}"] for name, p50, p99 in halves]
    cells.append(["the rest: gateway, fan-out, socket, client", f"{left:.2f}", "", f"{left / whole50:.0%}"])
    cells.append(["engine to socket", f"{whole50:.2f}", f"{whole99:.2f}", "100%"])
    return "## Engine to socket, 100 clients, 10 events/s\n\n" + _table(["hop", "p50, ms", "p99, ms", "share"], cells)


def _not_reading_text(t: Table) -> str:
    cells = [
        [
            f"{stalled:.0f}",
            *(_spread(t.values("not_reading", name, stalled=stalled)) for name in ("p50_ms", "p99_ms", "cpu_us")),
            f"{t.median('not_reading', 'behind', stalled=stalled):.0f}",
        ]
        for stalled in t.steps("not_reading", "stalled")
    ]
    return "## 1,000 clients × 400 events/s, some of whom do not read\n\n" + _table(
        ["do not read", "others' p50, ms", "others' p99, ms", "CPU per delivery, µs", "found to be behind"], cells
    )


def _start_text(t: Table) -> str:
    lines = []
    if t.has("copy"):
        lines.append(
            f"- A gateway copies a bridge's journal of {t.steps('copy', 'events')[0]:,.0f} events through gRPC, "
            f"translated and journaled: {_spread(t.values('copy', 'events_per_s'))} events/s; CPU per event "
            f"{t.median('copy', 'gateway_us'):.1f} µs in the gateway, {t.median('copy', 'bridge_us'):.1f} µs "
            "in the bridge."
        )
    if t.has("resume"):
        lines.append(
            "- 2,000 clients are cut off, miss 20 events, and come back at once with their positions: all connected "
            f"after {_spread(t.values('resume', 'connected_s'))} s, all have everything after "
            f"{_spread(t.values('resume', 'seconds'))} s; {t.median('resume', 'cpu_s'):.2f} s of the gateway's core, "
            f"{sum(t.values('resume', 'missing')):.0f} deliveries missing."
        )
    return "## Starting and coming back\n\n" + "\n".join(lines)


def _growth_text(t: Table) -> str:
    parts = []
    for measure, key, head in (
        ("growth_clients", "clients", "clients, 10 events/s"),
        ("growth_bytes", "bytes", "bytes an event, 1,000 clients, 20 events/s"),
        ("growth_topics", "topics", "topics, 1,000 clients with one each, 20 events/s on each"),
    ):
        cells = [
            [
                f"{step:,.0f}",
                *(_spread(t.values(measure, name, OURS, **{key: step})) for name in ("cpu_us", "p50_ms", "p99_ms")),
            ]
            for step in t.steps(measure, key)
        ]
        parts.append(_table([head, "CPU per delivery, µs", "p50, ms", "p99, ms"], cells))
    return "## How the cost grows\n\n" + "\n\n".join(parts)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
