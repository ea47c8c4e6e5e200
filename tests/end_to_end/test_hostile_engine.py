"""What the engine sends is not trusted: it is counted and told, and nothing falls over."""

import json
import math

from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2

from tests.end_to_end.conftest import Connect
from tests.end_to_end.grpcurl import grpcurl
from tests.end_to_end.test_engine_outage import told
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

STATUS = "engine_events.v1.EventService/GetBridgeStatus"


async def test_bytes_that_are_no_message_are_told_and_logged_in_one_line(connect: Connect) -> None:
    """For each topic: stale and rpc_failed, then fresh again; the stack checks that nobody wrote a traceback."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.3) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        await client.wait_for("agent.status")
        for method in ("GetSystemStatus", "ListAgents", "Check"):
            engine.answer(method, b"\xff\xff\xff")
        engine.push_raw(b"\xff\xff\xff")
        engine.notify("still here")
        mark = client.mark()
        await told(client, mark, "rpc_error", error_code="SYSTEM_STATUS_FAILED", reason="rpc_failed")
        await told(client, mark, "agent.status", stale=True)
        await told(client, 0, "notification", message="still here")
        for method in ("GetSystemStatus", "ListAgents", "Check"):
            engine.restore(method)
        mark = client.mark()
        for kind in ("system.status", "agent.status"):
            await told(client, mark, kind, stale=False)
        status = json.loads(await grpcurl(stack.bridge.address, STATUS))
        assert next(source for source in status["sources"] if source["topic"] == "notification")["rejected"] == "1"


async def test_numbers_that_are_none_and_enums_that_are_unknown_become_valid_json(connect: Connect) -> None:
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.3) as stack:
        status = events_pb2.SystemStatus(
            hostname="\u2028\x00\n", cpu_usage=math.nan, load_average=[math.inf, 1, -math.inf]
        )
        engine.answer("GetSystemStatus", engine_service_pb2.GetSystemStatusResponse(status=status))
        pool = events_pb2.StoragePool(name="p", state=77)  # type: ignore[arg-type]
        storage = events_pb2.StorageUpdate(pools=[pool])
        engine.answer("GetStorageStatus", engine_service_pb2.GetStorageStatusResponse(storage=storage))
        client = await connect(stack.ws_url())
        unknown = "UNSPECIFIED"
        system = await told(client, 0, "system.status", hostname="\u2028\x00\n")
        assert system["data"]["cpu_usage"] is None  # type: ignore[index]
        assert system["data"]["load_average"] == [None, 1, None]  # type: ignore[index]
        await client.wait_for(lambda message: unknown in (pool["state"] for pool in message["data"].get("pools", [])))


async def test_free_data_with_fields_that_nobody_knows_is_told_without_them(connect: Connect) -> None:
    """protobuf keeps them as they came, and writes an entry of free data that holds one out again unread: its bytes are
    the engine's (found by `make fuzz`)."""
    entry = b"\x0a\x01a" + b"\x62\x06\x1a\x04\xff\xff\xff\xff"  # a name, and field 12, which looks like a text within
    event = events_pb2.Event(type="evil")
    event.other.MergeFromString(b"\x0a" + bytes([len(entry)]) + entry)
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.3) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        await client.wait_for("agent.status")
        engine.push(event)
        engine.notify("still here")
        await told(client, 0, "notification", message="still here")
        await told(client, 0, "evil")


async def test_forged_oversized_and_too_many_types_are_rejected_and_counted(connect: Connect) -> None:
    """A thousand types of its own are an engine's limit; memory does not grow with what it makes up."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.3) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        await client.wait_for("agent.status")
        before = stack.bridge.rss_bytes()
        for kind in ("Not A Type", "rpc_error", "heartbeat", "circuit_breaker.open"):
            engine.push_other(kind, {"forged": True})
        engine.push_other("huge.event", {"x": "y" * 300_000})
        for number in range(3000):
            engine.push_other(f"made.up_{number}", {"n": number})
        engine.notify("the end")
        await told(client, 0, "notification", message="the end")
        assert not [message for _, message in client.history if message["data"].get("forged")]
        made_up = [message for _, message in client.history if message["type"].startswith("made.up")]
        assert len(made_up) == 1000
        status = json.loads(await grpcurl(stack.bridge.address, STATUS))
        rejected = next(source for source in status["sources"] if source["topic"] == "notification")["rejected"]
        assert int(rejected) == 3000 - 1000 + 5
        assert stack.bridge.rss_bytes() - before < 30 << 20
        await stack.wait_ready()
