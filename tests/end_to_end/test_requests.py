"""What a browser may say, and what it is answered."""

import pytest

from tests.end_to_end.conftest import Connect
from tests.kit.client import Recorder
from tests.kit.programs import Stack

REPLIES = ("subscribe", "unsubscribe", "pong", "error")


async def asked(client: Recorder, message: object) -> dict[str, object]:
    mark = client.mark()
    await client.send(message)  # type: ignore[arg-type]
    return (await client.wait_for(lambda answer: answer["type"] in REPLIES, since=mark)).message


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "subscribe", "data": {"types": ["scheduler.metrics"]}, "id": 7},
        {"type": "subscribe", "data": {"events": ["scheduler.metrics"]}, "id": 7},
        {"type": "subscribe", "types": ["scheduler.metrics"], "id": 7},
    ],
)
async def test_subscribe_in_any_of_its_three_shapes_adds_a_type_and_gives_its_snapshot(
    stack: Stack, connect: Connect, request_: dict[str, object]
) -> None:
    client = await connect(stack.ws_url())
    await client.wait_for("system.status")
    mark = client.mark()
    answer = await asked(client, request_)
    assert (answer["type"], answer["id"]) == ("subscribe", 7)
    subscriptions = answer["data"]["subscriptions"]  # type: ignore[index]
    assert subscriptions == sorted(subscriptions)
    assert len(subscriptions) == 9
    added = await client.wait_for("scheduler.metrics", since=mark)
    assert added.message["snapshot"] is True
    assert added.message["data"]["stale"] is False


async def test_unsubscribed_types_stop_and_patterns_bring_them_back(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url(), types=["system.status", "agent.status"])
    await client.wait_for("agent.status")
    answer = await asked(client, {"type": "unsubscribe", "data": {"types": ["agent.status"]}})
    assert answer["data"] == {"subscriptions": ["system.status"]}
    mark = client.mark()
    await client.wait_for("system.status", since=mark)
    second = client.mark()
    await client.wait_for("system.status", since=second)
    assert not client.record.of_type("agent.status", since=mark)
    await asked(client, {"type": "subscribe", "data": {"types": ["agent.*"]}})
    await client.wait_for("agent.status", since=second)


async def test_type_that_nobody_has_published_may_be_subscribed_to(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    answer = await asked(client, {"type": "subscribe", "data": {"types": ["never.seen_before"]}})
    assert "never.seen_before" in answer["data"]["subscriptions"]  # type: ignore[index]


async def test_ping_is_answered_with_its_id(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    answer = await asked(client, {"type": "ping", "id": "a"})
    assert (answer["type"], answer["id"]) == ("pong", "a")


async def test_wrong_requests_get_their_documented_errors_and_the_connection_stays(
    stack: Stack, connect: Connect
) -> None:
    client = await connect(stack.ws_url())
    too_many = [f"t{number}" for number in range(65)]
    for request, code in [
        ("{", "INVALID_JSON"),
        ('{"type":"ping","id":NaN}', "INVALID_JSON"),
        ("[" * 100_00, "INVALID_JSON"),
        ("[]", "INVALID_MESSAGE"),
        ({"data": {}}, "INVALID_MESSAGE"),
        ({"type": "subscribe", "data": []}, "INVALID_MESSAGE"),
        ({"type": "system.status"}, "UNKNOWN_TYPE"),
        ({"type": "subscribe", "data": {"types": ["NOT A TYPE"]}}, "INVALID_SUBSCRIPTION"),
        ({"type": "subscribe", "data": {"types": too_many}}, "TOO_MANY_SUBSCRIPTIONS"),
    ]:
        answer = await asked(client, request)
        assert answer["type"] == "error", request
        assert answer["data"]["code"] == code  # type: ignore[index]
        assert answer["data"]["message"]  # type: ignore[index]
        assert (await asked(client, {"type": "ping"}))["type"] == "pong", "ten bad ones in a row would end it"


async def test_ten_bad_messages_in_a_row_end_the_connection(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    for _ in range(10):
        await client.send("nonsense")
    assert (await client.wait_closed()).code == 4500
    assert len(client.record.of_type("error")) == 10


async def test_flood_is_told_and_then_ends_the_connection(stack: Stack, connect: Connect) -> None:
    """20 messages a second beyond a burst of 100."""
    client = await connect(stack.ws_url())
    for _ in range(200):
        await client.send({"type": "ping"})
    assert (await client.wait_closed()).code == 4429
    errors = client.record.of_type("error")
    assert {error["data"]["code"] for error in errors} == {"RATE_LIMITED"}
    assert 100 <= len(client.record.of_type("pong")) < 150


async def test_largest_message_is_taken_and_one_byte_more_ends_the_connection(stack: Stack, connect: Connect) -> None:
    """65,536 bytes are allowed; RFC 6455's 1009 for more."""
    client = await connect(stack.ws_url())
    request = '{"type":"ping","data":{"x":"%s"}}'
    fill = 65_536 - len(request % "")
    assert (await asked(client, request % ("x" * fill)))["type"] == "pong"
    await client.send(request % ("x" * (fill + 1)))
    assert (await client.wait_closed()).code == 1009


async def test_binary_frame_ends_the_connection(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    await client.send(b"\x00")
    assert (await client.wait_closed()).code == 1003


async def test_bad_types_in_the_address_are_refused_before_the_upgrade(stack: Stack) -> None:
    status, text = await stack.get("/ws?types=NOT%20A%20TYPE")
    assert status == 400
    assert "INVALID_SUBSCRIPTION" in text


async def test_heartbeat_tells_position_and_freshness(connect: Connect) -> None:
    async with Stack(heartbeat_s=1, poll_s=0.3) as stack:
        client = await connect(stack.ws_url())
        beat = (await client.wait_for("heartbeat")).message["data"]
        assert beat["bridge_connected"] is True
        assert beat["epoch"] == client.welcome["epoch"]
        assert beat["seq"] >= client.welcome["seq"]
        assert 0 <= beat["freshness"]["system.status"] < 2
        mark = client.mark()
        await client.wait_for("heartbeat", since=mark)


async def test_full_gateway_refuses_before_the_upgrade(connect: Connect) -> None:
    """No room in all: 503; too many from one address: 429; room again when somebody leaves."""
    async with Stack(gateway_settings={"WS_GATEWAY_MAX_CLIENTS": "2"}) as stack:
        first, second = await connect(stack.ws_url()), await connect(stack.ws_url())
        assert (await stack.get("/ws"))[0] == 503
        await first.close()
        await connect(stack.ws_url())
        assert second.closed is None
    async with Stack(gateway_settings={"WS_GATEWAY_MAX_CLIENTS_PER_ADDRESS": "1"}) as stack:
        await connect(stack.ws_url())
        assert (await stack.get("/ws"))[0] == 429
