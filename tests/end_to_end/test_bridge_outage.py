"""The bridge, or the gateway, is killed and comes back."""

import time

from tests.end_to_end.conftest import Connect, resume
from tests.end_to_end.test_engine_outage import STATES, told
from tests.kit.client import Recorder
from tests.kit.programs import Stack


async def test_killed_bridge_is_told_within_a_second_and_its_new_epoch_when_it_is_back(
    stack: Stack, connect: Connect
) -> None:
    """Clients stay connected through both, and what they are shown is marked stale meanwhile."""
    client = await connect(stack.ws_url())
    for kind in STATES:
        await client.wait_for(kind)
    before = client.welcome["epoch"]
    mark, killed_s = client.mark(), time.monotonic()
    await stack.bridge.kill()
    error = await told(client, mark, "rpc_error", error_code="BRIDGE_DISCONNECT")
    assert "seq" not in error
    for kind in STATES:
        message = await told(client, mark, kind, stale=True, error_code="BRIDGE_DISCONNECT")
        assert "seq" not in message
        assert message["data"]["last_update"]  # type: ignore[index]
    assert time.monotonic() - killed_s < 1
    mark = client.mark()
    await stack.bridge.start()
    back_s = time.monotonic()
    notice = await client.wait_for("notification", since=mark)
    assert notice.message["data"]["level"] == "warning"
    assert notice.message["data"]["epoch"] not in (before, "")
    assert notice.message["data"]["resume"]["recovered"] is False
    for kind in STATES:
        await told(client, mark, kind, stale=False)
    assert time.monotonic() - back_s < 3
    assert client.closed is None


async def test_client_that_connects_while_the_bridge_is_away_gets_stale_states(stack: Stack, connect: Connect) -> None:
    """The last known good, marked, and never a state that looks fresh; /readyz and /api/v1/snapshot say the same."""
    await stack.bridge.kill()
    await stack.gateway.wait_logged("bridge_lost")
    client = await connect(stack.ws_url())
    for kind in STATES:
        await told(client, 0, kind, stale=True, error_code="BRIDGE_DISCONNECT")
    await told(client, 0, "rpc_error", error_code="BRIDGE_DISCONNECT")
    assert all(message["data"]["stale"] for kind in STATES for message in client.record.of_type(kind))
    status, text = await stack.get("/readyz")
    assert status == 503
    assert "system.status" in text
    status, text = await stack.get("/api/v1/snapshot")
    assert status == 200
    assert '"stale":false' not in text


async def test_frozen_bridge_that_thaws_goes_on_in_the_same_epoch(stack: Stack, connect: Connect) -> None:
    """A short freeze is no outage: the stream goes on, nothing comes twice."""
    client = await connect(stack.ws_url())
    await client.wait_for("system.status")
    stack.bridge.stop()
    mark = client.mark()
    stack.bridge.cont()
    await client.wait_for("system.status", since=mark)
    assert client.closed is None
    assert len(client.record.of_type("notification")) == 1


async def test_killed_gateway_is_resumed_with_every_log_event(stack: Stack, connect: Connect) -> None:
    """A restarted gateway has the bridge's whole journal: what happened while it was away comes, once and in order."""
    client = await connect(stack.ws_url(), types=["*"])
    for kind in STATES:
        await client.wait_for(kind)
    epoch = client.welcome["epoch"]
    await stack.gateway.kill()
    await stack.engine.kill()  # makes log events: rpc_error, circuit_breaker.open
    await stack.bridge.wait_logged("breaker_changed", count=4, within_s=10)
    await stack.gateway.start()
    await stack.gateway.wait_logged("epoch_changed", count=2)
    answer = await resume(client)
    assert client.welcome["epoch"] == epoch
    assert (answer["recovered"], answer["lost"]) == (True, 0)
    for kind in STATES:
        await told(client, 0, "circuit_breaker.open", topic=kind)
        await told(client, 0, kind, stale=True)
    reference = await Recorder.connect(stack.ws_url(), types=["*"], epoch=epoch, seq=0)
    async with reference:
        await reference.wait_for(lambda message: message.get("seq", 0) >= client.welcome["seq"])
        logs = [
            message["seq"]
            for _, message in reference.history
            if message["type"].startswith("circuit_breaker") and message["seq"] <= client.welcome["seq"]
        ]
    got = [message["seq"] for _, message in client.history if message["type"].startswith("circuit_breaker")]
    assert got[: len(logs)] == logs


async def test_terminated_gateway_tells_its_clients_when_to_come_back(stack: Stack, connect: Connect) -> None:
    clients = [await connect(stack.ws_url()) for _ in range(5)]
    end = await stack.gateway.terminate()
    assert (end.status, end.seconds < 5) == (0, True)
    waits = set()
    for client in clients:
        closed = await client.wait_closed()
        assert closed.code == 1012
        name, _, value = closed.reason.partition("=")
        assert name == "retry_after_ms"
        waits.add(int(value))
    assert len(waits) == len(clients), "spread, so that they do not all come at once"
