"""The soak, in short: two minutes of clients that come, stall and go while programs are killed, ended and frozen."""

import pytest

from tests.soak.gauges import slope_per_hour
from tests.soak.run import soak

SEED = 1


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_two_minutes_of_chaos_lose_nothing_silently() -> None:
    """Every client's history is in order, once, gapless or told; no client, task or descriptor is left at the end."""
    report = await soak(1.4, SEED)
    assert report.violations == [], str(report)


def test_slope_is_that_of_most_points() -> None:
    """A leak of one in ten seconds is 360 an hour, whatever a few wild points say."""
    points = [(float(second), second / 10) for second in range(100)]
    points[50] = (50.0, 1000.0)
    assert slope_per_hour(points) == pytest.approx(360)
    assert slope_per_hour(points[:1]) == 0
