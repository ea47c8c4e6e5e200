"""What is measured: each function is one round of one measure, and yields rows."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from bench import fanout, translation
from bench.load import Load
from bench.processes import SERVER_CORE, Child
from bench.publisher import Order
from bench.servers import (
    LIMITS,
    OURS,
    SERVERS,
    MissingPeer,
    Running,
    our_bridge,
    our_gateway,
    our_stack,
    status,
    wait_connected,
)

__all__ = ["MEASURES", "Row", "fan_out", "missing_peers"]

_COLLAPSED_MS = 1000.0


@dataclass(frozen=True)
class Row:
    """One measured thing."""

    measure: str
    server: str
    at: dict[str, float]
    """Under which conditions: clients, events a second, bytes."""
    values: dict[str, float] = field(default_factory=dict)


missing_peers: dict[str, str] = {}
"""Which peers could not be run, and why."""


def _sample(sample: fanout.Sample) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(sample).items() if name not in ("clients", "rate")}


def _connect(running: Running, load: Load, count: int) -> dict[str, float]:
    """Connects clients, and what that took."""
    before_bytes, before_s = running.server.pss_bytes(), running.server.cpu_s()
    seconds = load.connect(count)
    cpu_s = running.server.cpu_s() - before_s
    time.sleep(0.3)
    return {
        "connect_s": seconds,
        "handshakes_per_cpu_s": count / cpu_s,
        "kb_per_connection": (running.server.pss_bytes() - before_bytes) / count / 1024,
    }


def _each(names: list[str]) -> Iterator[tuple[str, Running, Load]]:
    for name in names:
        if name in missing_peers:
            continue
        try:
            with SERVERS[name]() as running, Load(running.port, running.dialect) as load:
                yield name, running, load
        except MissingPeer as missing:
            missing_peers[name] = str(missing)


def fan_out(
    names: list[str], rates: tuple[float, ...] = (20, 100, 200, 400, 800, 3200, 6400), seconds: float = 1.5
) -> Iterator[Row]:
    """1,000 clients, at one rate after another until the server collapses: the last row is what it does saturated."""
    clients = 1000
    for name, running, load in _each(names):
        yield Row("connect", name, {"clients": clients}, _connect(running, load, clients))
        for rate in rates:
            sample = fanout.run(running, load, Order(rate, seconds), clients)
            yield Row("fan_out", name, {"clients": clients, "rate": rate}, _sample(sample))
            if sample.delivered_share < 0.999 or sample.missing or sample.p99_ms > _COLLAPSED_MS:
                break


def _fan_out() -> Iterator[Row]:
    yield from fan_out(list(SERVERS))


def _split() -> Iterator[Row]:
    """1,000 clients, one event at a time: where the time of a delivery goes, ours beside those that only send; and what
    an event takes of our gateway while nobody is there, shared by 1,000."""
    for name, running, load in _each([OURS, *LIMITS]):
        if name == OURS:
            yield Row("split", f"{OURS}, no client", {}, _parts(running))
        load.connect(1000)
        yield Row("split", name, {}, _parts(running))


def _parts(running: Running) -> dict[str, float]:
    order = Order(20, 5.0)
    running.publisher.start(Order(order.rate, order.seconds + 1))
    time.sleep(0.5)
    before = running.server.split_s()
    time.sleep(order.seconds)
    parts_s = [now - then for now, then in zip(running.server.split_s(), before, strict=True)]
    running.publisher.wait(30.0)
    deliveries = order.rate * order.seconds * 1000
    names = ("own_us", "kernel_us", "others_us")
    return {name: part_s / deliveries * 1e6 for name, part_s in zip(names, parts_s, strict=True)}


def _five_thousand() -> Iterator[Row]:
    """5,000 clients, 20 events a second; memory and handshakes beside it."""
    clients = 5000
    for name, running, load in _each(
        [OURS, "C, one send each", "C, joined sends", "Node ws", "websockets broadcast", "aiohttp, queue per client"]
    ):
        yield Row("connect", name, {"clients": clients}, _connect(running, load, clients))
        sample = fanout.run(running, load, Order(20, 3.0), clients, warm_s=1.0)
        yield Row("five_thousand", name, {"clients": clients, "rate": 20}, _sample(sample))


def _not_reading() -> Iterator[Row]:
    """1,000 clients of whom 100 stop reading, beside the same with all of them reading."""
    for stalled in (0, 100):
        with our_stack() as running, Load(running.port, running.dialect) as load:
            load.connect(1000)
            load.stall(stalled)
            sample = fanout.run(running, load, Order(400, 3.0), 1000 - stalled, warm_s=2.0)
            behind = float(status(running.port)["clients"]["behind"])
            at = {"clients": 1000.0, "rate": 400.0, "stalled": float(stalled)}
            yield Row("not_reading", OURS, at, _sample(sample) | {"behind": behind})


def _quiet() -> Iterator[Row]:
    """Engine to socket, 100 clients, 10 events a second, and how late the event was at each hop."""
    with our_stack() as running, Load(running.port, running.dialect) as load:
        load.pause(0)
        load.connect(100)
        hops = Child.python("bench.hops", f"127.0.0.1:{running.bridge_port}", "6", core=SERVER_CORE)
        with hops:
            hops.hear(20.0)
            sample = fanout.run(running, load, Order(10, 4.0), 100)
            measured = json.loads(hops.hear(20.0))
        values = _sample(sample)
        for hop, summary in measured.items():
            values |= {f"{hop}_{name}": value for name, value in summary.items()}
        yield Row("quiet", OURS, {"clients": 100, "rate": 10}, values)


def _copy() -> Iterator[Row]:
    """A gateway starts beside a bridge with a long journal and copies it: gRPC, translation, journal, nothing else."""
    events = 200_000
    with our_bridge(history_events=events + 1000) as (publisher, bridge, _, bridge_port):
        publisher.start(Order(20_000, events / 20_000))
        publisher.wait(60.0)
        time.sleep(0.5)
        with our_gateway(bridge_port, history_events=events + 1000) as (gateway, port):
            began_s, gateway_s, bridge_s = time.monotonic(), gateway.cpu_s(), bridge.cpu_s()
            told = wait_connected(port)
            spent_s = time.monotonic() - began_s
            copied = told["journal"]["events"]
            values = {
                "events_per_s": copied / spent_s,
                "gateway_us": (gateway.cpu_s() - gateway_s) / copied * 1e6,
                "bridge_us": (bridge.cpu_s() - bridge_s) / copied * 1e6,
            }
            yield Row("copy", OURS, {"events": float(copied)}, values)


def _resume() -> Iterator[Row]:
    """2,000 clients are cut off, miss 20 events, and all come back at once with their positions."""
    clients, missed = 2000, 20
    with our_stack() as running, Load(running.port, running.dialect) as load:
        load.connect(clients)
        position = status(running.port)["position"]
        load.drop()
        running.publisher.start(Order(1000, missed / 1000))
        running.publisher.wait(10.0)
        time.sleep(0.5)
        load.reset()
        load.path(f"/ws?types=notification&epoch={position['epoch']}&seq={position['seq']}")
        before_s, began_s = running.server.cpu_s(), time.monotonic()
        connected_s = load.connect(clients, in_flight=clients)
        counts = load.wait_delivered(clients * missed)
        spent_s = time.monotonic() - began_s
        values = {
            "seconds": spent_s,
            "connected_s": connected_s,
            "cpu_s": running.server.cpu_s() - before_s,
            "missing": float(clients * missed - counts.delivered),
        }
        yield Row("resume", OURS, {"clients": float(clients), "missed": float(missed)}, values)


def _growth() -> Iterator[Row]:
    """How the cost of a delivery grows with clients, with the size of events and with topics."""
    for clients in (10, 100, 300, 1000, 3000, 10_000):
        with our_stack() as running, Load(running.port, running.dialect) as load:
            connected = _connect(running, load, clients)
            sample = fanout.run(running, load, Order(10, 2.0), clients, warm_s=1.0)
            yield Row("growth_clients", OURS, {"clients": clients, "rate": 10}, _sample(sample) | connected)
    with our_stack() as running, Load(running.port, running.dialect) as load:
        load.connect(1000)
        for size_bytes in (300, 1000, 3000, 10_000):
            sample = fanout.run(running, load, Order(20, 1.5, size_bytes=size_bytes), 1000)
            yield Row("growth_bytes", OURS, {"clients": 1000, "bytes": size_bytes}, _sample(sample))
    for topics in (1, 10, 100):
        with our_stack() as running, Load(running.port, running.dialect) as load:
            load.path("/ws?types=bench.t{t}", spread=topics)
            load.connect(1000)
            # as many deliveries a second whatever the number of topics
            order = Order(20.0 * topics, 1.5, topics=topics)
            sample = fanout.run(running, load, order, 1000, share=1 / topics)
            yield Row("growth_topics", OURS, {"clients": 1000, "topics": topics}, _sample(sample))


def _translation() -> Iterator[Row]:
    """Payload to JSON text, beside json_format.MessageToJson."""
    for kind, message in translation.messages().items():
        ours_us, theirs_us = translation.per_call_us(message)
        values = {"ours_us": ours_us, "json_format_us": theirs_us, "ratio": theirs_us / ours_us}
        yield Row(f"translation {kind}", OURS, {}, values)
    yield Row("free_data", OURS, {}, translation.free_data_us())


MEASURES: dict[str, Callable[[], Iterator[Row]]] = {
    "fan_out": _fan_out,
    "split": _split,
    "five_thousand": _five_thousand,
    "not_reading": _not_reading,
    "quiet": _quiet,
    "copy": _copy,
    "resume": _resume,
    "growth": _growth,
    "translation": _translation,
}
"""By the names that `--only` takes."""
