"""The engine is killed and comes back: nobody is disconnected, nothing old looks fresh."""

import json
import time

from tests.end_to_end.conftest import Connect
from tests.kit.client import Recorder
from tests.kit.history import fold
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

STATES = ("system.status", "storage.update", "agent.status", "compression.update")
CALLS = {"SYSTEM_STATUS_FAILED", "AGENT_STATUS_FAILED", "COMPRESSION_JOBS_FAILED", "STORAGE_UPDATE_FAILED"}


async def told(client: Recorder, since: int, kind: str, **data: object) -> dict[str, object]:
    """The first event of a type whose data holds these values, since a mark."""

    def wanted(message: dict[str, object]) -> bool:
        got = message.get("data")
        return message["type"] == kind and isinstance(got, dict) and data.items() <= got.items()

    return (await client.wait_for(wanted, since=since, within_s=10)).message


async def test_killed_engine_makes_every_state_stale_within_one_poll_interval(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    for kind in STATES:
        await client.wait_for(kind)
    mark, killed_s = client.mark(), time.monotonic()
    await stack.engine.kill()
    for kind in STATES:
        message = await told(client, mark, kind, stale=True, error_code="RPC_DISCONNECT")
        assert message["data"]["last_update"].endswith("Z")  # type: ignore[index]
    assert time.monotonic() - killed_s < 0.5 + 1  # the interval, and a busy machine
    for code in CALLS:
        await told(client, mark, "rpc_error", error_code=code, reason="rpc_disconnect")
    assert client.closed is None
    fresh = [message for message in fold(client.history).values() if not message["data"]["stale"]]
    assert fresh == []


async def test_breakers_open_after_five_failures_and_close_when_the_engine_is_back(
    stack: Stack, connect: Connect
) -> None:
    """circuit_breaker.open and CIRCUIT_BREAKER_OPEN; then stale: false within 2 s of the engine's return, not after the
    breaker's reset time, and circuit_breaker.closed."""
    client = await connect(stack.ws_url(), types=["*"])
    for kind in STATES:
        await client.wait_for(kind)
    mark = client.mark()
    await stack.engine.kill()
    for kind in STATES:
        opened = await told(client, mark, "circuit_breaker.open", topic=kind)
        assert opened["data"]["consecutive_failures"] == 5  # type: ignore[index]
        assert 0 < opened["data"]["retry_after_s"] <= 10  # type: ignore[index]
        await told(client, mark, kind, stale=True, error_code="CIRCUIT_BREAKER_OPEN")
    mark = client.mark()
    await stack.engine.start()
    back_s = time.monotonic()
    for kind in STATES:
        await told(client, mark, kind, stale=False)
    assert time.monotonic() - back_s < 2
    for kind in STATES:
        await told(client, mark, "circuit_breaker.half_open", topic=kind)
        await told(client, mark, "circuit_breaker.closed", topic=kind)
    assert client.closed is None
    await stack.wait_ready(within_s=5)


async def test_engine_back_before_the_breaker_opens_is_fresh_within_two_seconds(connect: Connect) -> None:
    """With a poll interval of 5 s: the probe, not the next poll, finds the engine."""
    async with Stack(poll_s=5) as stack:
        client = await connect(stack.ws_url())
        for kind in STATES:
            await client.wait_for(kind)
        mark = client.mark()
        await stack.engine.kill()
        for kind in STATES:
            await told(client, mark, kind, stale=True)
        mark = client.mark()
        await stack.engine.start()
        back_s = time.monotonic()
        for kind in STATES:
            await told(client, mark, kind, stale=False)
        assert time.monotonic() - back_s < 2


async def test_bridge_that_starts_before_its_engine_finds_it(connect: Connect) -> None:
    async with Stack(poll_s=0.5, wait_ready=False) as stack:
        await stack.gateway.wait_logged("epoch_changed")
        await stack.engine.kill()
        await stack.bridge.restart()
        await stack.gateway.wait_logged("epoch_changed", count=2)
        client = await connect(stack.ws_url(), epoch="", seq=0)  # from the journal's start
        await told(client, 0, "rpc_error", error_code="SYSTEM_STATUS_FAILED")
        await stack.engine.start()
        for kind in STATES:
            await told(client, 0, kind, stale=False)


async def test_job_that_the_restarted_engine_has_forgotten_stays_stale_and_the_gateway_gets_ready(
    connect: Connect,
) -> None:
    """How it ended nobody knows; everything else is fresh again, so whoever asks /readyz may send clients here."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.5) as stack:
        client = await connect(stack.ws_url(), types=["compression.update"])
        engine.push_job("lost", progress=40)
        await told(client, 0, "compression.update", job_id="lost", stale=False)
        mark = client.mark()
        await engine.stop()
        engine.new_epoch()
        await told(client, mark, "compression.update", job_id="lost", stale=True)
        await engine.start()
        await stack.wait_ready(within_s=10)
        _, body = await stack.get("/api/v1/snapshot?types=compression.update")
        jobs = {event["data"].get("job_id"): event["data"]["stale"] for event in json.loads(body)["events"]}
        assert jobs.pop("lost") is True
        assert not any(jobs.values())
