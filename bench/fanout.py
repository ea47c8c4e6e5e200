"""One open-loop run against one server: what a delivery costs, and how late it comes."""

import math
import time
from dataclasses import dataclass

from bench.load import Counts, Histogram, Load
from bench.processes import CLIENT_CORE, SERVER_CORE, busy_s
from bench.publisher import Order
from bench.servers import Running

__all__ = ["Sample", "run"]

_AFTER_S = 0.15
_DRAIN_S = 3.0


@dataclass(frozen=True)
class Sample:
    """What one run measured."""

    clients: int
    rate: float
    cpu_us: float
    """Of the server, user and system, for each delivery."""
    deliveries_per_cpu_s: float
    deliveries_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    delivered_share: float
    """Of the deliveries that were due for the events of the window, in the end. Less than 1: the server collapsed."""
    missing: int
    """Numbers that a client never saw."""
    events_per_read: float
    server_busy: float
    """Share of its core that the server used."""
    other_busy: float
    """Share of the server's core that others used: the run was disturbed."""
    client_busy: float
    """Share of the client's core in use. Near 1: the client's side was the limit."""


def run(running: Running, load: Load, order: Order, readers: int, *, share: float = 1.0, warm_s: float = 0.6) -> Sample:
    """Publishes as ordered, after `warm_s`; `readers` clients are there and read, each gets `share` of the events."""
    start_ns = time.monotonic_ns() + 50_000_000
    from_ns = start_ns + int(warm_s * 1e9)
    to_ns = from_ns + int(order.seconds * 1e9)
    load.reset()
    load.window(from_ns, to_ns)
    whole = Order(order.rate, warm_s + order.seconds + _AFTER_S, order.burst, order.size_bytes, order.topics)
    _sleep_until(start_ns)
    running.publisher.start(whole)

    _sleep_until(from_ns)
    first = load.report()
    cpu_s, core_s, client_s, at_s = running.server.cpu_s(), busy_s(SERVER_CORE), busy_s(CLIENT_CORE), time.monotonic()
    _sleep_until(to_ns)
    last = load.report()
    cpu_s = running.server.cpu_s() - cpu_s
    spent_s = time.monotonic() - at_s
    core_s, client_s = busy_s(SERVER_CORE) - core_s, busy_s(CLIENT_CORE) - client_s

    sent = running.publisher.wait(within_s=60.0 + whole.seconds)
    final = _drained(load, round(sent * readers * share))
    delivered = last.delivered - first.delivered
    due = order.rate * order.seconds * readers * share
    return Sample(
        clients=readers,
        rate=order.rate,
        cpu_us=cpu_s / delivered * 1e6 if delivered else math.nan,
        deliveries_per_cpu_s=delivered / cpu_s,
        deliveries_per_s=delivered / ((last.ns - first.ns) / 1e9),
        p50_ms=_of(final.histogram, 0.5, due),
        p99_ms=_of(final.histogram, 0.99, due),
        max_ms=final.latency_max / 1e6,
        delivered_share=min(1.0, final.delivered / (sent * readers * share)),
        missing=final.missing,
        events_per_read=delivered / max(1, last.reads - first.reads),
        server_busy=cpu_s / spent_s,
        other_busy=max(0.0, core_s - cpu_s) / spent_s,
        client_busy=client_s / spent_s,
    )


def _of(histogram: Histogram, share: float, due: float) -> float:
    """A percentile, in which what never came counts as infinitely late."""
    arrived = histogram.count / due if due else 0.0
    if arrived < 0.9:  # the edges of the window leave a few per cent open either way
        share = share / arrived if arrived else 2.0
    return histogram.percentile_ms(share) if share <= 1 else math.inf


def _drained(load: Load, due: int) -> Counts:
    deadline_s = time.monotonic() + _DRAIN_S
    while True:
        counts = load.report()
        if counts.delivered >= due or time.monotonic() > deadline_s:
            return counts
        time.sleep(0.05)


def _sleep_until(ns: int) -> None:
    time.sleep(max(0.0, (ns - time.monotonic_ns()) / 1e9))
