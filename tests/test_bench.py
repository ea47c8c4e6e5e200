"""The short form of the bench: ratios between servers on this machine in this minute, never times."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load import Histogram
from bench.measures import Row
from bench.results import promises
from bench.short import check

_REPOSITORY = Path(__file__).resolve().parents[1]


def _rows(server: str, cpu_us_at_20: float, cpu_us_at_800: float) -> list[Row]:
    return [
        Row("fan_out", server, {"clients": 1000, "rate": rate}, {"cpu_us": cpu_us, "missing": 0.0})
        for rate, cpu_us in ((20, cpu_us_at_20), (800, cpu_us_at_800))
    ]


def test_histogram_knows_percentiles_to_three_per_cent() -> None:
    """Bucket 512 begins at 2^20 ns, bucket 672 at 2^25: 32 exact ones, then 32 for each doubling."""
    buckets = [(512, 99), (672, 1)]
    histogram = Histogram(buckets)
    assert histogram.percentile_ms(0.5) == pytest.approx(1.048576, rel=0.032)
    assert histogram.percentile_ms(0.999) == pytest.approx(33.554, rel=0.032)


def test_short_form_fails_on_a_hub_that_is_as_slow_as_a_queue_per_client() -> None:
    """The bounds are ratios: the same figures times ten change nothing, a slower gateway fails."""
    peers = _rows("C, one send each", 5, 5) + _rows("aiohttp, queue per client", 15, 3)
    assert all(bound.holds for bound in check(peers + _rows("ws_gateway", 7.3, 0.8)))
    assert not all(bound.holds for bound in check(peers + _rows("ws_gateway", 15, 3)))


def test_report_promises_nothing_that_was_not_measured() -> None:
    """A run of one measure makes no statement on the others."""
    kept = promises([Row("resume", "ws_gateway", {"clients": 2000, "missed": 20}, {"seconds": 0.6})])
    assert [promise.what for promise in kept] == ["2,000 clients resume"]


@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("cc") is None, reason="the bench compiles its load client")
def test_fan_out_keeps_its_ratios() -> None:
    """The gateway beside the C sender and the usual hub, all of them started and loaded here."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--short"], cwd=_REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
