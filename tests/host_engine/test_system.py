"""This machine's figures."""

import socket
import time

import psutil
import pytest

from host_engine.system import CpuTimes, SystemReader, cpu_usage_pct


@pytest.mark.parametrize(
    ("before", "after", "pct"),
    [
        (CpuTimes(0, 0), CpuTimes(1, 4), 25),
        (CpuTimes(5, 10), CpuTimes(5, 20), 0),
        (CpuTimes(5, 10), CpuTimes(15, 20), 100),
        (CpuTimes(5, 10), CpuTimes(16, 20), 100),
        (CpuTimes(5, 10), CpuTimes(4, 20), 0),
        (CpuTimes(5, 10), CpuTimes(5, 10), None),
        (CpuTimes(5, 10), CpuTimes(4, 9), None),
    ],
)
def test_cpu_usage_is_the_busy_share_of_the_interval(before: CpuTimes, after: CpuTimes, pct: float | None) -> None:
    assert cpu_usage_pct(before, after) == pct


def test_figures_are_those_of_this_machine() -> None:
    status = SystemReader().read()
    assert status.hostname == socket.gethostname()
    assert status.uptime == pytest.approx(time.time() - psutil.boot_time(), abs=5)
    assert status.memory_total == psutil.virtual_memory().total
    assert 0 < status.memory_used < status.memory_total
    assert status.memory_pct == pytest.approx(100 * status.memory_used / status.memory_total)
    assert len(status.load_average) == 3
    assert status.timestamp == pytest.approx(time.time(), abs=5)


def test_figures_of_a_second_look_have_the_cpu() -> None:
    reader = SystemReader()
    deadline_s = time.monotonic() + 2
    while not reader.read().HasField("cpu_usage"):
        assert time.monotonic() < deadline_s
    assert 0 <= reader.read().cpu_usage <= 100
