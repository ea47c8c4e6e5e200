"""Inspecting the running programs with grpcurl, by reflection alone."""

import json

from tests.end_to_end.grpcurl import grpcurl
from tests.kit.programs import Stack

SERVICE = "engine_events.v1.EventService"


async def test_bridge_lists_and_describes_its_services(stack: Stack) -> None:
    listed = (await grpcurl(stack.bridge.address, "list")).split()
    assert listed == [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    described = await grpcurl(stack.bridge.address, "describe", SERVICE)
    assert "rpc Subscribe ( .engine_events.v1.SubscribeRequest ) returns ( stream" in described
    message = await grpcurl(stack.bridge.address, "describe", "engine_events.v1.Event")
    assert "oneof payload" in message


async def test_engine_lists_its_services(stack: Stack) -> None:
    listed = (await grpcurl(stack.engine.address, "list")).split()
    assert "engine_rpc.v1.EngineService" in listed
    assert "grpc.health.v1.Health" in listed


async def test_subscribe_streams_a_snapshot_and_then_live_events(stack: Stack) -> None:
    output = await grpcurl(
        stack.bridge.address,
        {"snapshot": True, "types": ["system.*"]},
        f"{SERVICE}/Subscribe",
        max_time_s=2,
        fails=True,
    )
    assert "DeadlineExceeded" in output
    messages = output.partition("ERROR:")[0]
    decoder, at, stream = json.JSONDecoder(), 0, []
    while messages[at:].strip():
        at += len(messages[at:]) - len(messages[at:].lstrip())
        message, at = decoder.raw_decode(messages, at)
        stream.append(message)
    assert "position" in stream[0]["subscribed"]
    assert stream[1]["batch"]["snapshot"] is True
    assert stream[1]["batch"]["events"][0]["type"] == "system.status"
    live = stream[2]["batch"]["events"][0]
    assert live["type"] == "system.status"
    assert int(live["seq"]) > int(stream[0]["subscribed"]["position"]["seq"])


async def test_health_and_status_tell_of_the_engine(stack: Stack) -> None:
    """The engine's own health stands under the name "engine"; a killed engine shows in both."""
    check = "grpc.health.v1.Health/Check"
    assert "SERVING" in await grpcurl(stack.bridge.address, {"service": "engine"}, check)
    status = json.loads(await grpcurl(stack.bridge.address, f"{SERVICE}/GetBridgeStatus"))
    assert status["engine_healthy"] is True
    assert {source["topic"] for source in status["sources"]} == {
        "system.status",
        "storage.update",
        "agent.status",
        "compression.update",
        "notification",
    }
    await stack.engine.kill()
    await stack.bridge.wait_logged("engine_health")
    assert "NOT_SERVING" in await grpcurl(stack.bridge.address, {"service": "engine"}, check)
    assert '"SERVING"' in await grpcurl(stack.bridge.address, check)
    await stack.bridge.wait_logged("breaker_changed", count=5)
    status = json.loads(await grpcurl(stack.bridge.address, f"{SERVICE}/GetBridgeStatus"))
    assert {source["breaker"] for source in status["sources"]} == {"BREAKER_STATE_OPEN"}
    assert all("last_error" in source for source in status["sources"])


async def test_snapshot_gives_the_latest_of_each_state(stack: Stack) -> None:
    snapshot = json.loads(await grpcurl(stack.bridge.address, {"types": ["agent.*"]}, f"{SERVICE}/GetSnapshot"))
    assert [event["type"] for event in snapshot["events"]] == ["agent.status"]
    assert snapshot["position"]["epoch"]
