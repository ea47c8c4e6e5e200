"""Storage speaks when something changes for good, and only then."""

from engine_events.v1 import events_pb2

from host_engine.alerts import PoolAlerts

ONLINE, DEGRADED, UNAVAIL = events_pb2.POOL_STATE_ONLINE, events_pb2.POOL_STATE_DEGRADED, events_pb2.POOL_STATE_UNAVAIL


def told(alerts: PoolAlerts, pct: float | None = None, state: events_pb2.PoolState.ValueType = ONLINE) -> list[str]:
    pool = events_pb2.StoragePool(name="tank", state=state)
    if pct is not None:
        pool.capacity_pct = pct
    return [alert.message for alert in alerts.observe([pool])]


def test_pool_filling_up_is_told_at_each_step_once() -> None:
    alerts = PoolAlerts()
    assert [bool(told(alerts, pct)) for pct in (79.9, 80, 85, 90, 94.9, 95, 99)] == [
        False, True, False, True, False, True, False,
    ]  # fmt: skip


def test_pool_filling_up_at_once_is_told_once() -> None:
    assert told(PoolAlerts(), 97) == ["Storage tank is over 95 % full"]


def test_pool_hovering_around_a_step_is_told_once() -> None:
    alerts = PoolAlerts()
    assert sum(len(told(alerts, pct)) for pct in (79, 80.1, 79.9, 80.1, 78.5, 80.5, 79)) == 1


def test_pool_well_below_is_told_and_counts_again() -> None:
    alerts = PoolAlerts()
    told(alerts, 81)
    assert told(alerts, 78) == ["Storage tank is below 80 % again"]
    assert told(alerts, 80) == ["Storage tank is over 80 % full"]


def test_pool_falling_a_step_is_told_again_when_it_rises() -> None:
    """From 96 to 91 nothing is said, but 95 counts again."""
    alerts = PoolAlerts()
    told(alerts, 96)
    assert told(alerts, 91) == []
    assert told(alerts, 95) == ["Storage tank is over 95 % full"]


def test_state_getting_worse_is_told_at_once() -> None:
    alerts = PoolAlerts()
    assert told(alerts) == []
    assert told(alerts, state=DEGRADED) == ["Storage tank is DEGRADED, was ONLINE"]
    assert told(alerts, state=DEGRADED) == []


def test_state_getting_better_is_told_after_three_looks() -> None:
    alerts = PoolAlerts()
    told(alerts, state=UNAVAIL)
    assert [told(alerts) for _ in range(4)] == [[], [], ["Storage tank is ONLINE, was UNAVAIL"], []]


def test_state_coming_and_going_is_told_once() -> None:
    alerts = PoolAlerts()
    states = [UNAVAIL, ONLINE, ONLINE, UNAVAIL, ONLINE, UNAVAIL, ONLINE, ONLINE, UNAVAIL]
    assert sum(len(told(alerts, state=state)) for state in states) == 1


def test_pool_gone_is_told_once() -> None:
    alerts = PoolAlerts()
    told(alerts)
    assert [alert.message for alert in alerts.observe([])] == ["Storage tank is not there any more"]
    assert alerts.observe([]) == []
