"""A hundred events a second at the live page, and what they cost it: frames, main thread, memory."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engine_events.v1 import events_pb2
from playwright.async_api import CDPSession, Page

from tests.kit.scripted_engine import ScriptedEngine

__all__ = ["Cost", "cost_of", "heap_bytes", "node_count", "under_load"]

_JOBS = 8
_FRAMES = """
seconds => new Promise(done => {
  const times = [], long = []
  const observer = new PerformanceObserver(list => { for (const task of list.getEntries()) long.push(task.duration) })
  observer.observe({type: "longtask"})
  const end = performance.now() + seconds * 1000
  const frame = now => {
    times.push(now)
    if (now < end) return requestAnimationFrame(frame)
    observer.disconnect()
    done({intervals: times.slice(1).map((time, index) => time - times[index]), long})
  }
  requestAnimationFrame(frame)
})
"""


@dataclass(frozen=True)
class Cost:
    """What some seconds under load cost the page."""

    frames_per_s: float
    median_frame_ms: float
    p99_frame_ms: float
    busy_share: float
    """Processor time of the main thread for each second: all tasks, whatever they did."""
    longest_task_ms: float
    """0: none took 50 ms."""
    received_per_s: float

    def __str__(self) -> str:
        return (
            f"{self.received_per_s:.0f} messages/s: {self.frames_per_s:.1f} frames/s "
            f"(median {self.median_frame_ms:.1f} ms, p99 {self.p99_frame_ms:.1f} ms), "
            f"main thread {self.busy_share:.0%} busy, longest task {self.longest_task_ms:.0f} ms"
        )


@asynccontextmanager
async def under_load(engine: ScriptedEngine, events_per_s: int) -> AsyncIterator[None]:
    """For as long as the block the engine pushes so many events a second: notifications, jobs, types of its own."""
    task = asyncio.create_task(_push(engine, events_per_s), name="load")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def cost_of(page: Page, cdp: CDPSession, seconds: float) -> Cost:
    """Watches the page for so long."""
    before, received, began_s = await _metrics(cdp), await _received(page), time.monotonic()
    seen: dict[str, Any] = await page.evaluate(_FRAMES, seconds)
    after, passed_s = await _metrics(cdp), time.monotonic() - began_s
    intervals = sorted(seen["intervals"])
    return Cost(
        frames_per_s=1000 * len(intervals) / sum(intervals),
        median_frame_ms=statistics.median(intervals),
        p99_frame_ms=intervals[int(len(intervals) * 0.99)],
        busy_share=(after["TaskDuration"] - before["TaskDuration"]) / passed_s,
        longest_task_ms=max(seen["long"], default=0.0),
        received_per_s=(await _received(page) - received) / passed_s,
    )


async def heap_bytes(cdp: CDPSession) -> int:
    """JavaScript's memory in use, once everything that can be collected has been."""
    for _ in range(2):
        await cdp.send("HeapProfiler.collectGarbage")
    return int((await cdp.send("Runtime.getHeapUsage"))["usedSize"])


async def node_count(cdp: CDPSession) -> int:
    """Nodes in memory, in the document or not."""
    return int((await _metrics(cdp))["Nodes"])


async def _metrics(cdp: CDPSession) -> dict[str, float]:
    # processor time, not time: on a machine that is busy with other things a task takes longer than it works
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    return {metric["name"]: metric["value"] for metric in (await cdp.send("Performance.getMetrics"))["metrics"]}


async def _received(page: Page) -> int:
    text = await page.locator('[data-fact="received"] dd').inner_text()
    return int(text.replace(",", ""))


async def _push(engine: ScriptedEngine, events_per_s: int) -> None:
    """What an engine at work has to say. It forgets what it said, as an engine would that has no room."""
    loop = asyncio.get_running_loop()
    began_s, number = loop.time(), 0
    while True:
        number += 1
        match number % 4:
            case 0:
                engine.notify(f"n={number}")
            case 1:
                progress = number / 40 % 100
                engine.push_job(f"job-{number % _JOBS}", progress=progress, status=events_pb2.JOB_STATUS_RUNNING)
            case 2:
                engine.push_other(
                    "scheduler.metrics", {"pending": number % 7, "running": 2, "number": number}, "current"
                )
            case _:
                engine.push_other("agent.task_completed", {"task": f"task-{number}", "took_ms": number % 90})
        await asyncio.sleep(max(0.0, began_s + number / events_per_s - loop.time()))
