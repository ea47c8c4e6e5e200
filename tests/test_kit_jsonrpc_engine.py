"""The scripted JSON-RPC engine is a real engine, and does what it is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.kit.jsonrpc_engine import METHODS, JsonRpcEngine


@pytest.fixture
async def engine() -> AsyncIterator[JsonRpcEngine]:
    async with JsonRpcEngine() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def call(session: aiohttp.ClientSession, engine: JsonRpcEngine, method: str) -> Any:
    async with session.post(engine.url, json={"jsonrpc": "2.0", "id": 7, "method": method}) as response:
        assert response.status == 200
        answer = await response.json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer.get("result", answer.get("error"))


async def test_every_method_answers_and_is_counted(engine: JsonRpcEngine, session: aiohttp.ClientSession) -> None:
    """The methods of the contract have results; any other is -32601."""
    for method in METHODS:
        assert "code" not in await call(session, engine, method)
        assert engine.calls[method] == 1
    assert (await call(session, engine, "tea.make"))["code"] == -32601
    assert engine.invalid_requests == []


async def test_behaviours_hold_until_restored(engine: JsonRpcEngine, session: aiohttp.ClientSession) -> None:
    """Missing, error, result, raw and hanging, each for its method only."""
    engine.missing("agents.list")
    assert (await call(session, engine, "agents.list"))["code"] == -32601
    engine.error("agents.list", -32000, "no agents today")
    assert await call(session, engine, "agents.list") == {"code": -32000, "message": "no agents today"}
    engine.result("agents.list", [])
    assert await call(session, engine, "agents.list") == []
    engine.raw("agents.list", "<html>", status=500, content_type="text/html")
    async with session.post(engine.url, json={"jsonrpc": "2.0", "id": 1, "method": "agents.list"}) as response:
        assert (response.status, await response.text()) == (500, "<html>")
    engine.hang("agents.list")
    waiting = asyncio.create_task(call(session, engine, "agents.list"))
    await engine.wait_called("agents.list", 5)
    assert (await call(session, engine, "health.check"))["status"] == "healthy"
    assert not waiting.done()
    engine.restore("agents.list")
    assert (await waiting)[0]["agent_id"] == "agent-1"


async def test_fields_are_null_absent_or_of_another_form(engine: JsonRpcEngine, session: aiohttp.ClientSession) -> None:
    """The liberties that the contract gives an engine."""
    engine.null_fields("system.status", "uptime")
    assert (await call(session, engine, "system.status"))["uptime"] is None
    engine.drop_fields("agents.list", "tier", "last_active")
    assert "tier" not in (await call(session, engine, "agents.list"))[0]
    engine.drop_fields("system.status")
    assert await call(session, engine, "system.status") == {}
    engine.load_average_as_list()
    assert (await call(session, engine, "system.status"))["load_average"] == [0.5, 0.25, 0.125]
    engine.restore()
    assert (await call(session, engine, "system.status"))["load_average"]["load5"] == 0.25


@pytest.mark.parametrize(
    ("request_body", "wrong"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"id": 1, "method": "health.check"}', "jsonrpc is None"),
        ('{"jsonrpc": "2.0", "method": "health.check"}', "id is None"),
        ('{"jsonrpc": "2.0", "id": 1}', "method is None"),
        ('{"jsonrpc": "2.0", "id": 1, "method": "health.check", "params": 3}', "params is 3"),
        ('{"jsonrpc": "2.0", "id": 1, "method": "health.check", "token": 3}', "unknown members ['token']"),
    ],
)
async def test_malformed_request_is_noted(
    engine: JsonRpcEngine, session: aiohttp.ClientSession, request_body: str, wrong: str
) -> None:
    """A request that is not JSON-RPC 2.0 is answered with an error, kept for the test, and not counted as a call."""
    async with session.post(engine.url, data=request_body) as response:
        assert (await response.json())["error"]["code"] in (-32600, -32700)
    assert engine.invalid_requests == [wrong]
    assert not engine.calls


async def test_restart_keeps_the_port(engine: JsonRpcEngine, session: aiohttp.ClientSession) -> None:
    """Stopped, it refuses; started again, it answers at the same address."""
    url = engine.url
    await engine.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(session, engine, "health.check")
    await engine.start()
    assert engine.url == url
    assert (await call(session, engine, "health.check"))["status"] == "healthy"
