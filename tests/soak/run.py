"""One soak: programs under chaos, clients that live and are judged, and what all of it took."""

import asyncio
import itertools
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.kit.client import get
from tests.kit.history import Entry, check, close, numbered_label
from tests.kit.programs import Program, Stack
from tests.soak.chaos import Chaos
from tests.soak.gauges import Gauge, Sample, slope_per_hour
from tests.soak.lives import KINDS, Life, Watcher
from tests.soak.truth import Truth, state_key

__all__ = ["Report", "soak"]

CLIENTS = 30
LIFE_S = (8.0, 30.0)
_KEEP_S = 240.0
"""Longer than any life, its end and a freeze together."""
_LOOK_S = 1.0
_STALL_S = "5"
_HISTORY_EVENTS = {"scripted": "1500", "host": "50"}
"""The scripted engine fills that in two minutes and a half, the host engine, which says little but that a call failed,
in some ten: a journal that fills looks like a leak."""
_SETTLE_S = 4.0
_GRPC_THREADS_S = 30.0
"""An idle thread of gRPC's ends after 20 s (kIdleThreadLimit), give or take the 3 s between two looks."""
_WARM_UP_S = 900.0
"""Memory goes up for so long: by then the journals are full, the worst freeze has, most likely, been met, and the
allocator's pieces have been spread as far as they will be."""
_STEADY_S = 600.0
"""A slope over less than this says nothing: clients that come and go move memory by some 0.2 MB."""
_LIMITS = {"rss_mb": 1.0, "descriptors": 6.0, "threads": 6.0, "tasks": 6.0}
"""What a program may gain in an hour. Descriptors and tasks go up and down with the clients."""


@dataclass
class Report:
    """What came of it."""

    seed: int
    lines: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def violate(self, violations: Iterable[str]) -> None:
        """Notes what must not be, and says so at once: a soak takes long."""
        for violation in violations:
            sys.stderr.write(f"VIOLATION {violation}\n")
            self.violations.append(violation)

    def __str__(self) -> str:
        verdict = [f"VIOLATION {violation}" for violation in self.violations[:50]] or ["no violation"]
        return "\n".join([f"seed {self.seed}", *self.lines, *verdict, ""])


async def soak(minutes: float, seed: int) -> Report:
    """Four at once, each with clients and programs of its own: an engine that never rests and the host engine, and
    with each of them programs that are killed, ended and frozen, and programs that are only frozen, so that their
    growth can be seen."""
    report = Report(seed)
    async with asyncio.TaskGroup() as group:
        for engine in "scripted", "host":
            for restarts in True, False:
                group.create_task(_Stage(report, engine, seed, minutes * 60, restarts=restarts).run())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    report.lines.append(f"the soak itself: {peak_mb:.0f} MB at most")
    return report


class _Stage:
    def __init__(self, report: Report, engine: str, seed: int, seconds: float, *, restarts: bool) -> None:
        self._report = report
        self._engine = engine
        self._restarts = restarts
        self._name = f"{engine}, {'restarted' if restarts else 'frozen'}"
        self._seed = seed
        self._seconds = seconds
        self._truth = Truth(_KEEP_S)
        self._lives: dict[Life, asyncio.Task[None]] = {}
        self._over = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._rng = random.Random(f"{seed} {self._name} clients")

    async def run(self) -> None:
        try:
            await self._run()
        except AssertionError as error:
            self._report.violate([f"{self._name}: {error}"])

    async def _run(self) -> None:
        async with self._programs() as (stack, programs):
            chaos = Chaos(
                random.Random(f"{self._seed} {self._name} chaos"),
                programs,
                numbered=programs[0] if self._engine == "scripted" else None,
            )
            gauges = [Gauge(program) for program in programs]
            base = await self._settled(stack)
            looking = asyncio.create_task(self._look_on(stack, gauges), name="gauges")
            try:
                end_s = time.monotonic() + self._seconds
                doing = asyncio.create_task(chaos.run(until_s=end_s, restarts=self._restarts), name="chaos")
                while not doing.done() or self._lives:
                    if doing.done():
                        self._over.set()
                    else:
                        self._populate(stack)
                    await asyncio.wait([*self._lives.values(), doing], timeout=0.2)
                    self._bury(chaos)
                doing.result()
            finally:
                looking.cancel()
                await asyncio.wait([looking])
            after = await self._settled(stack, base)
            self._summarize(chaos, gauges, base, after)

    @asynccontextmanager
    async def _programs(self) -> AsyncIterator[tuple[Stack, list[Program]]]:
        history = _HISTORY_EVENTS[self._engine]
        options = {
            "bridge_settings": {"ENGINE_BRIDGE_HISTORY_EVENTS": history},
            "gateway_settings": {"WS_GATEWAY_HISTORY_EVENTS": history, "WS_GATEWAY_STALL_S": _STALL_S},
            "heartbeat_s": 5.0,
        }
        if self._engine == "host":
            async with Stack(**options) as stack:  # type: ignore[arg-type]  # each of its own type
                yield stack, stack.programs
            return
        stack = Stack(engine_url="grpc://127.0.0.1:1", **options)  # type: ignore[arg-type]
        engine = Program("engine", "tests.soak.engine", listen="--listen", directory=stack.directory)
        stack.point_bridge_at(engine.grpc_url)
        async with engine, stack:
            yield stack, [engine, *stack.programs]

    # ---- clients

    def _populate(self, stack: Stack) -> None:
        if not any(isinstance(life, Watcher) for life in self._lives):
            self._begin(Watcher(stack, self._rng, self._counts["lives"]), 60.0)
        while len(self._lives) < CLIENTS:
            kind = self._rng.choice(KINDS)
            life = kind(stack, random.Random(self._rng.random()), self._counts["lives"])
            self._begin(life, self._rng.uniform(*LIFE_S))

    def _begin(self, life: Life, seconds: float) -> None:
        self._counts["lives"] += 1
        self._lives[life] = asyncio.create_task(life.live(seconds, self._truth, self._over), name=life.name)

    def _bury(self, chaos: Chaos) -> None:
        """Judges those whose life has ended, against what all have received."""
        for life in self._lives:
            self._truth.take(life, life.history)
        ended = [life for life, task in self._lives.items() if task.done()]
        if not ended:
            return
        reference = self._truth.history()
        for life in ended:
            self._lives.pop(life).result()
            self._judge(life, reference, chaos)
            self._truth.forget(life)
        self._truth.expire()

    def _judge(self, life: Life, reference: list[Entry], chaos: Chaos) -> None:
        self._counts["messages"] += len(life.history)
        found = [
            str(violation)
            for violation in check(
                life.history,
                reference=reference,
                start=life.start,
                until=life.until,
                cut_short=life.cuts_itself,
                key_of=state_key,
            )
        ]
        numbers = [int(label[2:]) for _, message in life.history if (label := numbered_label(message)) is not None]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            found.append("the engine's own numbers do not rise")
        for closed in life.closes:
            self._counts[f"closed {closed.code}"] += 1
            cut = any(gone_s - 1 < closed.at_s < back_s + 1 for gone_s, back_s in chaos.gateway_gone_s)
            if closed.code == 1006 or life.cuts_itself:
                if not (cut or life.cuts_itself):
                    found.append(f"closed without a close frame though nobody killed the gateway: {closed}")
            else:
                found += [str(violation) for violation in close(closed.code, closed.reason)]
        if life.complaint is not None:
            found.append(life.complaint)
        if found:
            self._report.violate(f"{self._name}: {life.name}: {what}" for what in [*found, self._kept(life)])

    def _kept(self, life: Life) -> str:
        """Writes down the history of a life in which something was wrong, to be looked at."""
        directory = Path(tempfile.gettempdir(), f"soak-{self._seed}")
        directory.mkdir(exist_ok=True)
        path = directory / f"{self._name.replace(', ', '-')}-{life.name}.jsonl"
        path.write_text("".join(f"{json.dumps(message)}\n" for _, message in life.history))
        return f"what it received is in {path}"

    # ---- programs

    async def _look_on(self, stack: Stack, gauges: list[Gauge]) -> None:
        while True:
            tasks = None
            try:
                tasks = (await self._status(stack, within_s=1.0))["tasks"]
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                pass  # frozen, killed, or on its way
            for gauge in gauges:
                gauge.look(tasks if gauge.name.startswith("gateway") else None)
            await asyncio.sleep(_LOOK_S)

    async def _settled(self, stack: Stack, base: dict[str, int] | None = None) -> dict[str, int]:
        """What the programs have open when no client is there, at the least within some seconds; with a `base`, until
        it is no more than that, for as long as gRPC keeps threads that have nothing to do."""
        await stack.wait_ready(within_s=30)
        least: dict[str, int] = {}
        until_s = time.monotonic() + (_SETTLE_S if base is None else _GRPC_THREADS_S)
        while time.monotonic() < until_s:
            status = await self._status(stack, within_s=5)
            now = {
                "clients": status["clients"]["connected"],
                "tasks": status["tasks"],
                "gateway descriptors": stack.gateway.descriptor_count(),
                "gateway threads": stack.gateway.thread_count(),
                "bridge descriptors": stack.bridge.descriptor_count(),
            }
            least = {name: min(value, least.get(name, value)) for name, value in now.items()}
            if base is not None and all(count <= base[name] for name, count in least.items()):
                break
            await asyncio.sleep(0.1)  # what is closed is closed a little later
        return least

    async def _status(self, stack: Stack, *, within_s: float) -> Any:
        answer = await get(stack.http_url("/api/v1/status"), within_s=within_s)
        return answer.json()

    def _summarize(self, chaos: Chaos, gauges: list[Gauge], base: dict[str, int], after: dict[str, int]) -> None:
        lines, violate = self._report.lines, self._report.violate
        violate(f"{self._name}: {violation}" for violation in chaos.violations)
        violate(
            f"{self._name}: {name}: {count} when all clients have left, {base[name]} before the first"
            for name, count in after.items()
            if count > base[name]
        )
        lines += [
            f"--- {self._name}: {self._seconds / 60:.1f} minutes",
            f"done: {', '.join(f'{what} {count}' for what, count in sorted(chaos.done.items()))}",
            f"clients: {', '.join(f'{what} {count}' for what, count in sorted(self._counts.items()))}; "
            f"{self._truth.count} events",
            f"before and after: {', '.join(f'{name} {base[name]} {after[name]}' for name in base)}",
            f"{'':12}{'restarts':>9}{'longest':>10}{'memory':>10}{'grows an hour by':>18}{'descriptors':>13}"
            f"{'threads':>9}{'tasks':>7}",
        ]
        for gauge in gauges:
            steady = gauge.longest.after(_WARM_UP_S)
            is_ours = self._engine == "host" or gauge.name != "engine"  # that of the tests goes up and down
            judged = is_ours and len(steady) > 1 and steady[-1].at_s - steady[0].at_s >= _STEADY_S
            slopes = [_slope(steady, name) if judged else None for name in _LIMITS]
            cells = ["" if slope is None else f"{slope:+.1f}" for slope in slopes]
            cells[0] += " MB" if cells[0] else ""
            last = gauge.longest.samples[-1].rss_mb if gauge.longest.samples else 0.0
            lines.append(
                f"{gauge.name:12}{gauge.restarts:>9}{gauge.longest.seconds:>8.0f} s{last:>7.0f} MB"
                f"{cells[0]:>18}{cells[1]:>13}{cells[2]:>9}{cells[3]:>7}"
            )
            violate(
                f"{self._name}: {gauge.name}: {name} grows by {slope:.1f} an hour, at most {limit} are allowed"
                for slope, (name, limit) in zip(slopes, _LIMITS.items(), strict=True)
                if slope is not None and slope > limit
            )


def _slope(samples: list[Sample], name: str) -> float:
    return slope_per_hour(
        [(sample.at_s, float(value)) for sample in samples if (value := getattr(sample, name)) is not None]
    )
