"""The soak, in short: two minutes of clients that come, stall and go while programs are killed, ended and frozen."""

import random
from types import SimpleNamespace
from typing import cast

import pytest

from tests.kit.history import Position
from tests.kit.programs import Stack
from tests.kit.record import Closed, Received
from tests.soak import lives
from tests.soak.gauges import slope_per_hour
from tests.soak.run import soak
from tests.soak.truth import Truth

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


class Undecided(lives.Life):
    """Has unsubscribed from everything, and looks 40 s later each time. Then it comes back and wants it all."""

    def __init__(self) -> None:
        super().__init__(cast(Stack, None), random.Random(0), 1)
        self.looks = 0
        self.received = [told([], 0)]

    @property
    def history(self) -> list[Received]:
        return self.received

    @property
    def closed(self) -> Closed | None:
        self.looks += 1
        if self.looks == 2:
            self.received += [told(["*"], 380), pushed(380)]
        return None

    async def connect(self) -> None:
        """It is there."""

    async def act(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def read_everything(self) -> None:
        """It does."""


def told(subscriptions: list[str], seq: int) -> Received:
    data = {"epoch": "e", "seq": seq, "subscriptions": subscriptions, "resume": {}, "client_id": "c"}
    return Received(0.0, {"type": "notification", "data": data})


def pushed(seq: int) -> Received:
    return Received(0.0, {"type": "notification", "seq": seq, "data": {"message": str(seq)}})


async def test_client_that_is_owed_something_only_when_its_time_is_up_has_time_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was said not to have caught up to 379 while it was at 380."""
    life, truth = Undecided(), Truth(60)
    truth.take("another", [told(["*"], 378), pushed(379)])
    monkeypatch.setattr(lives, "time", SimpleNamespace(monotonic=lambda: life.looks * 40.0))
    await life._catch_up(truth)
    assert (life.until, life.looks) == (Position("e", 379), 2)
