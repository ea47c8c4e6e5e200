"""A gateway is killed, or a client goes away and comes back: it goes on from its position, there or elsewhere."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import Connect
from tests.faults.conftest import LONG
from tests.faults.scene import Fault, fresh, number_after, numbers, numbers_engine, whole
from tests.kit.client import Recorder
from tests.kit.history import Position, gapless, published_once, told_lost
from tests.kit.measure import Measurements
from tests.kit.programs import Stack
from tests.kit.record import Message

FEW = 50  # log events that a small gateway keeps
CLIENTS = 5  # go away for each time, all at once


async def come_back(client: Recorder, url: str | None = None, *, within_s: float = 10.0) -> Message:
    """Tries to resume until somebody answers, as a client does; what the welcome says of it."""
    mark, deadline_s = client.mark(), time.monotonic() + within_s
    while True:
        try:
            await client.resume(url)
            break
        except (aiohttp.ClientError, OSError):
            assert time.monotonic() < deadline_s, "nobody answers"
            await asyncio.sleep(0.01)
    welcome = await client.wait_for("notification", since=mark)
    answer: Message = welcome.message["data"]["resume"]
    return answer


async def reached(client: Recorder, seq: int) -> None:
    """Waits until the client has got everything up to there."""
    await client.wait_for(lambda message: message.get("seq", 0) >= seq)


async def caught_up(client: Recorder, reference: Recorder) -> Position:
    """Waits until a client that has resumed has got all that it was promised, and some more; gives its position, when
    the client that was never away has got as far."""
    await reached(client, client.welcome["seq"])
    await number_after(client, since=client.mark())
    position = client.position
    assert position is not None
    await reached(reference, position.seq)
    return position


async def test_killed_gateway_is_resumed_where_it_was_and_at_another(
    tmp_path: Path, connect: Connect, measurements: Measurements
) -> None:
    """One client tries until its gateway is back, and gets in at the first moment; the other goes elsewhere."""
    fault = Fault(measurements, "gateway killed", "SIGKILL")
    engine = numbers_engine(tmp_path)
    async with engine, Stack(engine_url=engine.grpc_url, poll_s=0.5, gateways=2) as stack:
        loyal, mover = [await connect(stack.ws_url(), types=["*"]) for _ in range(2)]
        reference = await connect(stack.ws_url(1), types=["*"])
        for each in (loyal, mover, reference):
            await fresh(each)
            await number_after(each, since=0)
        await stack.gateway.kill()
        for each in (loyal, mover):
            await each.wait_closed()
        moved = await come_back(mover, stack.ws_url(1))
        returning = asyncio.create_task(come_back(loyal))
        await asyncio.sleep(2)
        await stack.gateway.start(wait=False)
        returned = await returning
        for where, client, answer in (("the restarted one", loyal, returned), ("another", mover, moved)):
            assert (answer["requested"], answer["recovered"], answer["lost"]) == (True, True, 0), where
            position = await caught_up(client, reference)
            whole(client)
            assert gapless(client.history, reference.history, until=position) == []
            missing = max(numbers(client)) - min(numbers(client)) + 1 - len(numbers(client))
            fault.kept(f"resumed at {where}: every event once", abs(missing), limit=0, unit="events")


@pytest.mark.parametrize(
    "aways_s",
    [
        (1, 2, 4),
        pytest.param(
            (1, 10, 60, 300),
            marks=[
                pytest.mark.long,
                pytest.mark.timeout(400),
                pytest.mark.skipif(not LONG, reason="takes 5 min: set FAULTS_LONG=1"),
            ],
        ),
    ],
    ids=["seconds", "minutes"],
)
async def test_client_that_comes_back_gets_what_it_missed_or_is_told(
    tmp_path: Path, connect: Connect, measurements: Measurements, aways_s: tuple[int, ...]
) -> None:
    """Every log event that it missed, once and in order, and the latest states.

    One whose gateway keeps few events is told how many are gone, exactly."""
    engine = numbers_engine(tmp_path)
    stack = Stack(engine_url=engine.grpc_url, poll_s=0.5)
    stack.add_gateway(WS_GATEWAY_HISTORY_EVENTS=str(FEW))
    async with engine, stack, asyncio.TaskGroup() as tasks:
        reference = await connect(stack.ws_url(), types=["*"])

        async def leave_for(away_s: int) -> None:
            fault = Fault(measurements, f"client away for {away_s} s", "reconnect with epoch, seq")
            client = await connect(stack.ws_url(), types=["*"])
            await fresh(client)
            await number_after(client, since=0)
            await client.close()
            await asyncio.sleep(away_s)
            answer = await come_back(client)
            assert (answer["recovered"], answer["lost"]) == (True, 0)
            position = await caught_up(client, reference)
            whole(client)
            violations = gapless(client.history, reference.history, until=position)
            fault.kept(
                "every missed log event once, in order; the latest states", len(violations), limit=0, unit="gaps"
            )

        async def leave_the_small_one_for(away_s: int) -> None:
            fault = Fault(measurements, f"client away for {away_s} s, journal for less", "reconnect with epoch, seq")
            client = await connect(stack.ws_url(1), types=["notification"])
            await number_after(client, since=0)
            await client.close()
            await asyncio.sleep(away_s)
            answer = await come_back(client)
            assert not answer["recovered"]
            assert answer["lost"] > 0
            await reached(client, client.welcome["seq"])
            await number_after(client, since=client.mark())
            published = [f"n={value}" for value in range(numbers(client)[0], numbers(client)[-1] + 1)]
            assert published_once(client.history, published) == []
            silent = len(published) - len(numbers(client)) - told_lost(client.history)
            fault.kept("told exactly how many are lost", abs(silent), limit=0, unit="events")

        for away_s in aways_s * CLIENTS:
            tasks.create_task(leave_for(away_s))
        for _ in range(CLIENTS):
            tasks.create_task(leave_the_small_one_for(max(4, aways_s[-1])))
