"""An engine that speaks JSON-RPC over HTTP works as well as one that speaks gRPC."""

import time
from collections.abc import AsyncIterator

import pytest

from tests.end_to_end.conftest import Connect
from tests.end_to_end.test_engine_outage import STATES, told
from tests.kit.jsonrpc_engine import JsonRpcEngine
from tests.kit.programs import Stack


@pytest.fixture
async def engine() -> AsyncIterator[JsonRpcEngine]:
    async with JsonRpcEngine() as engine:
        yield engine


async def test_all_four_topics_come_fresh(engine: JsonRpcEngine, connect: Connect) -> None:
    async with Stack(engine_url=engine.url, poll_s=0.3) as stack:
        client = await connect(stack.ws_url())
        for kind in STATES:
            await told(client, 0, kind, stale=False)
        system = client.record.of_type("system.status")[0]["data"]
        assert isinstance(system["uptime"], int | float)
        assert len(system["load_average"]) == 3
        agents = client.record.of_type("agent.status")[0]["data"]
        assert agents["total_agents"] == len(agents["agents"]) > 0


async def test_missing_methods_and_fields_do_no_harm(engine: JsonRpcEngine, connect: Connect) -> None:
    """A method that the engine lacks is off, not failing; a field that it lacks is null, never zero."""
    engine.missing("storage.pools.list")
    engine.missing("health.check")
    engine.change(
        "system.status",
        lambda result: result.update(cpu_usage=None, memory_usage=None, load_average=[0.5, 0.25, 0.125]),
    )
    engine.null_fields("agents.list", "success_rate", "last_active")
    async with Stack(engine_url=engine.url, poll_s=0.2, wait_ready=False) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        for kind in ("system.status", "agent.status", "compression.update"):
            await told(client, 0, kind, stale=False)
        system = client.record.of_type("system.status")[0]["data"]
        assert (system["cpu_usage"], system["memory_total"]) == (None, None)
        assert system["load_average"] == [0.5, 0.25, 0.125]
        await engine.wait_called("system.status", 5)
        assert not client.record.of_type("rpc_error")
        assert not client.record.of_type("storage.update")
        assert engine.calls["storage.pools.list"] == 1
        assert (await stack.get("/readyz"))[0] == 200


async def test_engine_that_goes_and_comes_back_is_told_stale_and_fresh(engine: JsonRpcEngine, connect: Connect) -> None:
    async with Stack(engine_url=engine.url, poll_s=0.3) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        for kind in STATES:
            await told(client, 0, kind, stale=False)
        mark = client.mark()
        await engine.stop()
        for kind in STATES:
            await told(client, mark, kind, stale=True)
        for kind in STATES:
            await told(client, mark, "circuit_breaker.open", topic=kind)
        mark = client.mark()
        await engine.start()
        back_s = time.monotonic()
        for kind in STATES:
            await told(client, mark, kind, stale=False)
        assert time.monotonic() - back_s < 2


async def test_one_method_that_hangs_or_fails_leaves_the_others_fresh(engine: JsonRpcEngine, connect: Connect) -> None:
    async with Stack(
        engine_url=engine.url, poll_s=0.3, bridge_settings={"ENGINE_BRIDGE_CALL_TIMEOUT_S": "0.5"}
    ) as stack:
        client = await connect(stack.ws_url(), types=["*"])
        await client.wait_for("compression.update")
        engine.hang("agents.list")
        engine.error("storage.pools.list")
        mark = client.mark()
        await told(client, mark, "rpc_error", error_code="AGENT_STATUS_FAILED", reason="rpc_timeout")
        await told(client, mark, "rpc_error", error_code="STORAGE_UPDATE_FAILED", reason="rpc_failed")
        await told(client, mark, "circuit_breaker.open", topic="agent.status")
        others = [*client.record.of_type("system.status", since=mark)]
        assert len(others) > 3
        assert not any(message["data"]["stale"] for message in others)
