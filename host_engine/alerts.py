"""When storage is worth a notification: a pool fills up, changes its state, or is well again. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from engine_events.v1 import events_pb2

__all__ = ["Alert", "PoolAlerts"]

_STEPS_PCT = (80.0, 90.0, 95.0)
_STEP_LEVELS = (
    events_pb2.NOTIFICATION_LEVEL_INFO,
    events_pb2.NOTIFICATION_LEVEL_WARNING,
    events_pb2.NOTIFICATION_LEVEL_ERROR,
)
# a pool that hovers around a step is told once: it must fall this far below before the step counts again
_HYSTERESIS_PCT = 2.0
# a pool that comes and goes is told once: it must look better this often in a row before that is believed
_BETTER_LOOKS = 3

# from well to ill; a move to the right is told at once
_SEVERITY = {
    events_pb2.POOL_STATE_ONLINE: 0,
    events_pb2.POOL_STATE_OFFLINE: 1,
    events_pb2.POOL_STATE_DEGRADED: 2,
    events_pb2.POOL_STATE_UNAVAIL: 3,
    events_pb2.POOL_STATE_FAULTED: 4,
}
_STATE_LEVELS = {
    events_pb2.POOL_STATE_ONLINE: events_pb2.NOTIFICATION_LEVEL_INFO,
    events_pb2.POOL_STATE_OFFLINE: events_pb2.NOTIFICATION_LEVEL_WARNING,
    events_pb2.POOL_STATE_DEGRADED: events_pb2.NOTIFICATION_LEVEL_WARNING,
    events_pb2.POOL_STATE_UNAVAIL: events_pb2.NOTIFICATION_LEVEL_ERROR,
    events_pb2.POOL_STATE_FAULTED: events_pb2.NOTIFICATION_LEVEL_ERROR,
}


class Alert(NamedTuple):
    """One sentence for people, and how serious it is."""

    message: str
    level: events_pb2.NotificationLevel.ValueType


@dataclass(slots=True)
class _Known:
    """What was told of a pool. A new one is taken to be well, so that what is wrong at the start is told too."""

    state: events_pb2.PoolState.ValueType = events_pb2.POOL_STATE_ONLINE
    better_looks: int = 0
    steps: int = 0


class PoolAlerts:
    """Compares each look with what was told before."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def observe(self, pools: Iterable[events_pb2.StoragePool]) -> list[Alert]:
        """What is worth telling after this look."""
        alerts: list[Alert] = []
        seen: set[str] = set()
        for pool in pools:
            seen.add(pool.name)
            known = self._known.setdefault(pool.name, _Known())
            alerts += _state_alerts(pool, known)
            alerts += _fill_alerts(pool, known)
        for name in self._known.keys() - seen:
            del self._known[name]
            alerts.append(Alert(f"Storage {name} is not there any more", events_pb2.NOTIFICATION_LEVEL_WARNING))
        return alerts


def _state_alerts(pool: events_pb2.StoragePool, known: _Known) -> list[Alert]:
    if pool.state not in _SEVERITY or pool.state == known.state:
        known.better_looks = 0
        return []
    if _SEVERITY[pool.state] < _SEVERITY[known.state]:
        known.better_looks += 1
        if known.better_looks < _BETTER_LOOKS:
            return []
    before, known.state, known.better_looks = known.state, pool.state, 0
    now, then = events_pb2.PoolState.Name(pool.state), events_pb2.PoolState.Name(before)
    words = f"{now.removeprefix('POOL_STATE_')}, was {then.removeprefix('POOL_STATE_')}"
    return [Alert(f"Storage {pool.name} is {words}", _STATE_LEVELS[pool.state])]


def _fill_alerts(pool: events_pb2.StoragePool, known: _Known) -> list[Alert]:
    if not pool.HasField("capacity_pct"):
        return []
    reached = sum(pool.capacity_pct >= step for step in _STEPS_PCT)
    held = sum(pool.capacity_pct > step - _HYSTERESIS_PCT for step in _STEPS_PCT)
    before, known.steps = known.steps, max(reached, min(known.steps, held))
    if known.steps > before:
        step = known.steps - 1
        return [Alert(f"Storage {pool.name} is over {_STEPS_PCT[step]:.0f} % full", _STEP_LEVELS[step])]
    if known.steps == 0 and before > 0:
        return [Alert(f"Storage {pool.name} is below {_STEPS_PCT[0]:.0f} % again", events_pb2.NOTIFICATION_LEVEL_INFO)]
    return []
