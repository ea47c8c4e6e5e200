"""Coming back with a position."""

from tests.end_to_end.conftest import Connect, resume
from tests.kit.history import fold, gapless
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine


def said(number: int) -> str:
    return f"n={number}"


async def test_client_that_comes_back_gets_every_log_event_it_missed_once_and_in_order(connect: Connect) -> None:
    """And the latest of every state, not those in between, which are counted."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.2) as stack:
        watcher = await connect(stack.ws_url(), types=["*"])
        client = await connect(stack.ws_url(), types=["*"])
        for number in range(20):
            engine.notify(said(number))
        await client.wait_for(lambda message: message["data"].get("message") == said(19))
        await client.close()
        for number in range(20, 60):
            engine.notify(said(number))
            engine.push_job("job-1", progress=number)
        await watcher.wait_for(lambda message: message["data"].get("message") == said(59))
        await watcher.wait_for(lambda message: message["data"].get("progress") == 59)
        told = await resume(client)
        assert (told["requested"], told["recovered"], told["lost"]) == (True, True, 0)
        assert told["superseded"] > 0
        await client.wait_for(lambda message: message.get("seq", 0) >= client.welcome["seq"])
        got = [message["data"]["message"] for message in client.record.of_type("notification")]
        assert [text for text in got if text.startswith("n=")] == [said(number) for number in range(60)]
        jobs = [message for message in client.record.of_type("compression.update") if "job_id" in message["data"]]
        assert [job["data"]["progress"] for job in jobs] == [59]
        assert gapless(client.history, watcher.history, until=client.position) == []
        await watcher.wait_for(lambda message: message.get("seq", 0) >= client.history[-1].message["seq"])


async def test_position_of_another_epoch_is_not_recovered_and_gets_the_snapshot(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url(), epoch="0123456789ab", seq=5)
    await client.wait_for("system.status")
    told = client.welcome["resume"]
    assert (told["requested"], told["recovered"]) == (True, False)
    assert client.record.of_type("system.status")[0]["snapshot"] is True


async def test_malformed_position_is_not_recovered_and_gets_the_snapshot(stack: Stack, connect: Connect) -> None:
    """A client with a broken memory is not locked out."""
    client = await connect(f"{stack.ws_url()}?epoch=x&seq=minus-one")
    await client.wait_for("system.status")
    assert client.welcome["resume"] == {
        "requested": True,
        "recovered": False,
        "replayed": 0,
        "superseded": 0,
        "lost": 0,
    }


async def test_resume_past_the_journals_bounds_tells_how_many_log_events_are_lost(connect: Connect) -> None:
    """Never a silent gap: the count is exact, and what is still there comes."""
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, gateway_settings={"WS_GATEWAY_HISTORY_EVENTS": "10"}) as stack,
    ):
        watcher = await connect(stack.ws_url(), types=["notification"])
        client = await connect(stack.ws_url(), types=["notification"])
        engine.notify(said(0))
        await client.wait_for(lambda message: message["data"].get("message") == said(0))
        await client.close()
        for number in range(1, 31):
            engine.notify(said(number))
        await watcher.wait_for(lambda message: message["data"].get("message") == said(30))
        told = await resume(client)
        assert (told["recovered"], told["lost"], told["replayed"]) == (False, 20, 10)
        await client.wait_for(lambda message: message["data"].get("message") == said(30))
        got = [message["data"]["message"] for message in client.record.of_type("notification")]
        assert [text for text in got if text.startswith("n=")] == [said(0), *(said(n) for n in range(21, 31))]


async def test_snapshot_can_be_declined(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url(), snapshot=False)
    await client.wait_for(lambda message: "seq" in message)
    assert not any("snapshot" in entry.message for entry in client.history)
    assert fold(client.history)
