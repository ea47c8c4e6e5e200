"""Drives load.c, and reads its counts."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from bench.processes import CLIENT_CORE, OUT, REPOSITORY, Child

__all__ = ["Counts", "Dialect", "Histogram", "Load", "compile_c"]

_SUB_BITS = 5  # as in load.c
_PAUSE_US = 300


def compile_c(name: str) -> str:
    """Compiles bench/NAME.c if it is newer than its program; gives the program. RuntimeError: there is no compiler."""
    source, program = REPOSITORY / "bench" / f"{name}.c", OUT / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("the bench needs a C compiler, `cc`")
        OUT.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
    return str(program)


@dataclass(frozen=True)
class Dialect:
    """How to be a client of one server."""

    path: str
    protocol: str | None = None
    hello: Sequence[str] = ()
    binary: bool = False
    ready: str | None = None
    """A payload that holds this says that the client is subscribed. None: as soon as it is connected."""
    echo: tuple[str, str] | None = None
    """A ping of the protocol's own, and its answer."""


class Histogram:
    """Latencies, to within 3 %."""

    def __init__(self, buckets: Sequence[tuple[int, int]] = ()) -> None:
        self._buckets = sorted(buckets)
        self.count = sum(count for _, count in buckets)

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` (0..1) of the deliveries did not exceed. NaN: there are none."""
        wanted = share * self.count
        seen = 0
        for bucket, count in self._buckets:
            seen += count
            if seen >= wanted:
                return _upper_ns(bucket) / 1e6
        return float("nan")


def _upper_ns(bucket: int) -> int:
    low = bucket & ((1 << _SUB_BITS) - 1)
    shift = (bucket >> _SUB_BITS) - 1
    return low if shift < 0 else ((1 << _SUB_BITS) + low + 1 << shift) - 1


@dataclass(frozen=True)
class Counts:
    """What the clients got since the last reset."""

    ns: int
    open: int
    delivered: int
    in_window: int
    bytes: int
    reads: int
    missing: int
    repeated: int
    lost_connections: int
    refused: int
    cpu_s: float
    latency_max: int
    latency_sum: int
    histogram: Histogram


class Load:
    """A load client for one server. A context manager."""

    def __init__(self, port: int, dialect: Dialect) -> None:
        command = [compile_c("load"), "127.0.0.1", str(port)]
        if dialect.protocol:
            command += ["--protocol", dialect.protocol]
        for text in dialect.hello:
            command += ["--hello", text]
        if dialect.binary:
            command += ["--binary"]
        if dialect.ready:
            command += ["--ready", dialect.ready]
        if dialect.echo:
            command += ["--echo", *dialect.echo]
        self.child = Child(command, core=CLIENT_CORE, name="load")
        self.path(dialect.path)
        self.pause(_PAUSE_US)

    def path(self, path: str, *, spread: int = 1) -> None:
        """Connections made from now on ask for this; `{t}` in it is their number modulo `spread`."""
        self._ask(f"spread {spread}")
        self._ask(f"path {path}")

    def connect(self, count: int, *, in_flight: int = 64, within_s: float = 60.0) -> float:
        """Makes so many more connections; gives the seconds until all were open."""
        answer = self._ask(f"connect {count} {in_flight}", within_s)
        if answer["refused"]:
            raise RuntimeError(f"{answer['refused']} connections were refused; see load.log")
        return float(answer["seconds"])

    def pause(self, pause_us: int) -> None:
        """How long the client rests after each look at its sockets, see load.c."""
        self._ask(f"pause {pause_us}")

    def stall(self, count: int) -> None:
        """The first `count` connections are not read any more."""
        self._ask(f"stall {count}")

    def window(self, from_ns: int, to_ns: int) -> None:
        """Only events made in this time are in the histogram."""
        self._ask(f"window {from_ns} {to_ns}")

    def reset(self) -> None:
        self._ask("reset")

    def report(self) -> Counts:
        return _counts(self._ask("report"))

    def wait_delivered(self, count: int) -> Counts:
        """The counts as soon as so many events have been delivered since the reset, or after 20 s."""
        return _counts(self._ask(f"await {count}", 30.0))

    def drop(self) -> None:
        """Closes all connections."""
        self._ask("drop")

    def _ask(self, command: str, within_s: float = 20.0) -> dict[str, Any]:
        self.child.tell(command)
        answer: dict[str, Any] = json.loads(self.child.hear(within_s))
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.end()


def _counts(answer: dict[str, Any]) -> Counts:
    buckets = [(bucket, count) for bucket, count in answer.pop("histogram")]
    return Counts(**answer, histogram=Histogram(buckets))
