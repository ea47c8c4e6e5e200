"""The page for many minutes under a hundred events a second: does its memory stay, and do its frames come?"""

import time
from dataclasses import dataclass, field

from tests.browser import chromium
from tests.browser.load import Cost, cost_of, heap_bytes, node_count, under_load
from tests.browser.screen import Screen
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine
from tests.soak.gauges import slope_per_hour

__all__ = ["Report", "soak"]

_MIB = 1 << 20
_WARM_S = 330.0
"""The charts hold five minutes: until then memory may grow."""
_GROWS_MIB_PER_HOUR = 6.0
_SLICE_S = 15.0


@dataclass
class Report:
    """What came of it."""

    heap_mib: list[tuple[float, float]] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    lost: int = 0

    @property
    def heap_mib_per_hour(self) -> float:
        """How the heap grows once everything is as long as it gets; in a short run, from half its time on."""
        warm_s = min(_WARM_S, self.heap_mib[-1][0] / 2)
        return slope_per_hour([point for point in self.heap_mib if point[0] >= warm_s])

    @property
    def is_good(self) -> bool:
        return self.lost == 0 and self.heap_mib_per_hour < _GROWS_MIB_PER_HOUR

    def __str__(self) -> str:
        first, last = self.heap_mib[0][1], self.heap_mib[-1][1]
        frames = sorted(cost.frames_per_s for cost in self.costs)
        busy = sum(cost.busy_share for cost in self.costs) / len(self.costs)
        return (
            f"{self.heap_mib[-1][0] / 60:.1f} min, {self.costs[-1].received_per_s:.0f} messages/s, {self.lost} lost\n"
            f"heap {first:.1f} MiB at first, {last:.1f} at the end, {self.heap_mib_per_hour:+.2f} an hour; "
            f"nodes {self.nodes[0]} and {self.nodes[-1]}\n"
            f"frames/s {frames[len(frames) // 2]:.1f} (worst quarter of a minute {frames[0]:.1f}), "
            f"main thread {busy:.0%} busy, longest task {max(cost.longest_task_ms for cost in self.costs):.0f} ms\n"
        )


async def soak(minutes: float) -> Report:
    """Runs it."""
    report = Report()
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, poll_s=1) as stack,
        chromium.launch(chromium.find()) as browser,
    ):
        screen = await Screen.open(browser, stack.http_url())
        cdp = await screen.context.new_cdp_session(screen.page)
        began_s = time.monotonic()
        async with under_load(engine, 100):
            while (passed_s := time.monotonic() - began_s) < minutes * 60:
                report.costs.append(await cost_of(screen.page, cdp, _SLICE_S))
                report.heap_mib.append((passed_s + _SLICE_S, await heap_bytes(cdp) / _MIB))
                report.nodes.append(await node_count(cdp))
        report.lost = await screen.count("lost")
        await screen.close()
    return report
