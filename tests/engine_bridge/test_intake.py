"""What an engine may push, and what not."""

import pytest
from engine_events.v1 import events_pb2
from structlog.testing import capture_logs

from engine_bridge.intake import Intake
from engine_bridge.timestamps import timestamp
from tests.engine_bridge.fakes import job, notification, state

OURS = [
    *("ping", "pong", "heartbeat", "connection_error", "rpc_error", "subscribe", "unsubscribe", "error"),
    *("circuit_breaker.open", "circuit_breaker.half_open", "circuit_breaker.closed"),
]


@pytest.mark.parametrize(
    "event", [notification("n"), job("a"), state("agent.task_completed", ""), state("x", "k" * 256)]
)
def test_well_formed_event_is_taken_as_it_is(event: events_pb2.Event) -> None:
    assert Intake().check(event) == event


def test_fields_that_only_the_bridge_sets_are_cleared() -> None:
    """A number, a time of publication or a freshness from an engine would be forged. The original stays as it was."""
    event = notification("n")
    event.observed_at.CopyFrom(timestamp(5))
    clean = Intake().check(event)
    forged = events_pb2.Event()
    forged.CopyFrom(event)
    forged.seq = 99
    forged.published_at.CopyFrom(timestamp(7))
    forged.freshness.stale = True
    assert Intake().check(forged) == clean
    assert forged.seq == 99


@pytest.mark.parametrize("type", ["", "Upper", "a..b", "a b", "a\n", "ä", "x" * 129, "*", "agent.*"])
def test_malformed_type_is_refused(type: str) -> None:
    assert Intake().check(events_pb2.Event(type=type)) is None


@pytest.mark.parametrize("type", OURS)
def test_type_that_the_bridge_and_the_gateway_say_is_refused(type: str) -> None:
    assert Intake().check(events_pb2.Event(type=type)) is None


def test_key_too_long_is_refused() -> None:
    assert Intake().check(state("x", "k" * 257)) is None


def test_event_too_large_is_refused_and_one_below_is_taken() -> None:
    intake = Intake()
    assert intake.check(notification("n" * (256 << 10))) is None
    assert intake.check(notification("n" * ((256 << 10) - 100))) is not None


def test_types_beyond_the_bound_are_refused_and_known_ones_go_on() -> None:
    """A hundred thousand types would be remembered by every reader."""
    intake = Intake()
    taken = [number for number in range(1100) if intake.check(state(f"engine.type_{number}", ""))]
    assert taken == list(range(1000))
    assert intake.check(state("engine.type_0", "")) is not None


def test_refused_types_take_no_room() -> None:
    intake = Intake()
    for number in range(1000):
        intake.check(state(f"Malformed{number}", ""))
        intake.check(notification("n" * (257 << 10)))
    assert intake.check(state("engine.type", "")) is not None


def test_each_kind_of_mistake_is_logged_once() -> None:
    """An engine in error must not be able to fill the log."""
    intake = Intake()
    with capture_logs() as logs:
        for _ in range(50):
            intake.check(events_pb2.Event(type="BAD" * 1000))
            intake.check(events_pb2.Event(type="rpc_error"))
    assert [line["reason"] for line in logs] == ["malformed type", "reserved type"]
    assert len(logs[0]["type"]) <= 200
