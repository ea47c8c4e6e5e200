"""What the gateway says of itself over plain HTTP."""

from collections.abc import AsyncIterator

import pytest

from tests.kit.client import HttpAnswer, Recorder, get
from tests.ws_gateway.fakes import Served, log, state


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with Served() as served:
        served.publish(state(1), log(2), state(3, "agent.status"))
        yield served


async def asked(gateway: Served, path: str) -> HttpAnswer:
    answer = await get(gateway.http_url(path))
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


async def test_healthz_is_200_whatever_is_wrong(gateway: Served) -> None:
    """It says that the process turns its loop: restarting it would not bring the bridge back."""
    gateway.lose_bridge()
    answer = await asked(gateway, "/healthz")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


async def test_readyz_is_200_when_everything_is_fresh(gateway: Served) -> None:
    answer = await asked(gateway, "/readyz")
    assert (answer.status, answer.json()) == (200, {"ready": True, "reasons": []})


async def test_readyz_names_what_is_stale(gateway: Served) -> None:
    gateway.publish(state(4, "agent.status", stale=True))
    answer = await asked(gateway, "/readyz")
    assert (answer.status, answer.json()) == (503, {"ready": False, "reasons": ["stale: agent.status"]})


async def test_readyz_says_that_the_bridge_is_away(gateway: Served) -> None:
    gateway.lose_bridge()
    answer = await asked(gateway, "/readyz")
    assert answer.status == 503
    assert answer.json()["reasons"] == ["not connected to the bridge", "stale: agent.status, system.status"]


async def test_readyz_of_a_gateway_that_has_nothing_to_show_is_503() -> None:
    async with Served() as gateway:
        assert (await asked(gateway, "/readyz")).json()["reasons"] == ["no state is known"]


async def test_snapshot_is_the_latest_of_every_state_as_messages(gateway: Served) -> None:
    gateway.publish(state(4, n=4))
    answer = (await asked(gateway, "/api/v1/snapshot")).json()
    assert answer["position"] == {"epoch": "e1", "seq": 4}
    assert answer["bridge_connected"] is True
    assert [(event["type"], event["seq"], event["data"]["stale"]) for event in answer["events"]] == [
        ("agent.status", 3, False),
        ("system.status", 4, False),
    ]


async def test_snapshot_of_some_types_has_these_only(gateway: Served) -> None:
    answer = (await asked(gateway, "/api/v1/snapshot?types=agent.*,other")).json()
    assert [event["type"] for event in answer["events"]] == ["agent.status"]


async def test_snapshot_in_an_outage_is_marked_stale(gateway: Served) -> None:
    """Without numbers: they are the gateway's own words."""
    gateway.lose_bridge()
    answer = (await asked(gateway, "/api/v1/snapshot")).json()
    assert answer["bridge_connected"] is False
    assert {event["data"]["error_code"] for event in answer["events"]} == {"BRIDGE_DISCONNECT"}
    assert all(event["data"]["stale"] and "seq" not in event for event in answer["events"])


async def test_snapshot_of_bad_types_is_refused(gateway: Served) -> None:
    answer = await asked(gateway, "/api/v1/snapshot?types=NO%20TYPE")
    assert (answer.status, answer.json()["code"]) == (400, "INVALID_SUBSCRIPTION")


async def test_status_counts_what_the_gateway_did(gateway: Served) -> None:
    async with await Recorder.connect(gateway.ws_url()) as client:
        await client.wait_for("system.status")
        status = (await asked(gateway, "/api/v1/status")).json()
    assert status["position"] == {"epoch": "e1", "seq": 3}
    assert status["journal"]["events"] == 3
    assert status["journal"]["oldest_log_seq"] == 2
    assert status["bridge"]["connected"] is True
    assert status["freshness"].keys() == {"system.status", "agent.status"}
    assert status["stale_topics"] == []
    assert status["clients"]["connected"] == 1
    for name in ("behind", "dropped", "refused", "superseded_events", "lost_events"):
        assert status["clients"][name] == 0


async def test_status_tells_what_went_wrong(gateway: Served) -> None:
    gateway.mirror.take(log(4, "NO TYPE"))
    gateway.lose_bridge()
    status = (await asked(gateway, "/api/v1/status")).json()
    assert (status["bridge"]["connected"], status["bridge"]["refused_events"]) == (False, 1)
    assert status["stale_topics"] == ["agent.status", "system.status"]
