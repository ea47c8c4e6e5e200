"""This machine's figures, from psutil. Blocking: called in a thread."""

import os
import platform
import socket
import time
from typing import NamedTuple

import psutil
from engine_events.v1 import events_pb2

__all__ = ["CpuTimes", "SystemReader", "cpu_usage_pct"]


class CpuTimes(NamedTuple):
    """Seconds since boot, all cores together."""

    busy_s: float
    total_s: float


def cpu_usage_pct(before: CpuTimes, after: CpuTimes) -> float | None:
    """Share of all cores in use between two looks, 0 to 100. None: no time passed, or the counters went backwards."""
    total_s = after.total_s - before.total_s
    if total_s <= 0:
        return None
    return min(100.0, max(0.0, 100.0 * (after.busy_s - before.busy_s) / total_s))


class SystemReader:
    """Remembers the look before: CPU usage is the interval's."""

    def __init__(self) -> None:
        self._platform = _platform()
        self._before = _cpu_times()
        self._process = psutil.Process()

    def read(self) -> events_pb2.SystemStatus:
        """The figures now. OSError, psutil.Error: they cannot be read."""
        memory = psutil.virtual_memory()
        used = max(0, memory.total - memory.available)
        now_s = time.time()
        status = events_pb2.SystemStatus(
            hostname=socket.gethostname(),
            platform=self._platform,
            uptime=time.clock_gettime(time.CLOCK_BOOTTIME),  # the wall clock may be stepped
            memory_used=used,
            memory_total=memory.total,
            memory_pct=100.0 * used / memory.total,
            load_average=os.getloadavg(),
            timestamp=now_s,
        )
        cpu = _cpu_times()
        usage_pct = cpu_usage_pct(self._before, cpu)
        if usage_pct is not None:
            status.cpu_usage = usage_pct
        self._before = cpu
        return status

    def resident_bytes(self) -> int:
        """Memory of this process. Does not block."""
        return int(self._process.memory_info().rss)


def _cpu_times() -> CpuTimes:
    # psutil.cpu_percent keeps its last look for each thread, and every look here has a thread of its own
    times = psutil.cpu_times()._asdict()
    busy_s = sum(times.get(kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
    return CpuTimes(busy_s, busy_s + times.get("idle", 0.0) + times.get("iowait", 0.0))


def _platform() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except (OSError, KeyError):
        return kernel
