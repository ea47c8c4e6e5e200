"""From this machine to a browser's message, through all three programs."""

import asyncio
import os
import shutil
import socket
import time
from pathlib import Path

from tests.end_to_end.conftest import Connect, resume
from tests.kit.client import SseRecorder
from tests.kit.history import fold, is_snapshot, snapshot_equals_fold
from tests.kit.programs import Stack

STATES = ("system.status", "storage.update", "agent.status", "compression.update")


async def test_client_gets_welcome_then_snapshot_then_live_updates_within_ten_seconds(connect: Connect) -> None:
    """From the start of the processes: welcome, the four states, and then each of them again."""
    async with Stack(poll_s=5, wait_ready=False) as stack:
        started_s = time.monotonic()
        client = await connect(stack.ws_url())
        for kind in STATES:
            await client.wait_for(kind, within_s=10)
        mark = client.mark()
        for kind in STATES:
            await client.wait_for(kind, since=mark, within_s=10)
        assert time.monotonic() - started_s < 20
        assert client.history[0].message["type"] == "notification"
        assert client.welcome["heartbeat_s"] == 30
        assert client.welcome["resume"]["requested"] is False


async def test_snapshot_comes_first_and_equals_what_the_history_adds_up_to(stack: Stack, connect: Connect) -> None:
    watcher = await connect(stack.ws_url())
    await watcher.wait_for("system.status")
    mark = watcher.mark()
    await watcher.wait_for("system.status", since=mark)
    late = await connect(stack.ws_url())
    for kind in STATES:
        snapshot = await late.wait_for(kind)
        assert is_snapshot(snapshot.message)
    await watcher.wait_for(lambda message: message.get("seq", 0) >= late.welcome["seq"])
    assert snapshot_equals_fold(late.history, watcher.history) == []


async def test_figures_agree_with_this_machine(stack: Stack, connect: Connect) -> None:
    """Host name, memory, load and the size of / are this machine's own."""
    client = await connect(stack.ws_url())
    system = (await client.wait_for("system.status")).message["data"]
    assert system["hostname"] == socket.gethostname()
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert system["memory_total"] == int(memory["MemTotal"].split()[0]) * 1024
    assert abs(system["uptime"] - float(Path("/proc/uptime").read_text().split()[0])) < 10
    assert len(system["load_average"]) == 3
    assert abs(system["load_average"][2] - os.getloadavg()[2]) < 1
    assert 0 < system["memory_used"] < system["memory_total"]
    busy = await client.wait_for(lambda message: message["data"].get("cpu_usage") is not None)
    assert 0 <= busy.message["data"]["cpu_usage"] <= 100
    storage = (await client.wait_for("storage.update")).message["data"]
    root = next(pool for pool in storage["pools"] if pool["mount_point"] == "/")
    usage = shutil.disk_usage("/")
    assert root["size"] == usage.total
    assert abs(root["free"] - usage.free) < 1 << 30
    assert root["state"] == "ONLINE"


async def test_agents_are_the_engines_own_workers(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    agents = (await client.wait_for("agent.status")).message["data"]
    assert agents["total_agents"] == len(agents["agents"]) > 0
    busy = [agent for agent in agents["agents"].values() if agent["status"] == "busy"]
    idle = [agent for agent in agents["agents"].values() if agent["status"] == "idle"]
    assert (agents["active_agents"], agents["idle_agents"]) == (len(busy), len(idle))


async def test_event_stream_gives_the_same_and_resumes_by_last_event_id(stack: Stack) -> None:
    """EventSource's way: id is epoch.seq, and coming back with it goes on after it."""
    async with await SseRecorder.connect(stack.http_url("/api/v1/events")) as first:
        for kind in STATES:
            await first.wait_for(kind)
        live = await first.wait_for(lambda message: "seq" in message and "snapshot" not in message)
        last = first.last_event_id
    assert last is not None
    assert last == f"{first.history[0].message['data']['epoch']}.{first.history[-1].message['seq']}"
    assert live.message["seq"] <= int(last.rpartition(".")[2])
    async with await SseRecorder.connect(stack.http_url("/api/v1/events"), last_event_id=last) as second:
        welcome = second.history[0].message if second.history else (await second.wait_for("notification")).message
        assert welcome["data"]["resume"]["recovered"] is True
        following = await second.wait_for(lambda message: "seq" in message)
        assert following.message["seq"] > int(last.rpartition(".")[2])
        assert "snapshot" not in following.message
    async with await SseRecorder.connect(stack.http_url("/api/v1/events"), types=["agent.*"]) as third:
        await third.wait_for("agent.status")
        assert not third.record.of_type("system.status")


async def test_plain_http_tells_the_same(stack: Stack, connect: Connect) -> None:
    client = await connect(stack.ws_url())
    await client.wait_for("compression.update")
    status, _ = await stack.get("/healthz")
    assert status == 200
    status, text = await stack.get("/readyz")
    assert (status, '"ready":true' in text) == (200, True)
    status, text = await stack.get("/api/v1/snapshot?types=system.status")
    assert status == 200
    assert '"system.status"' in text
    assert '"agent.status"' not in text
    status, text = await stack.get("/api/v1/snapshot?types=NOT%20A%20TYPE")
    assert status == 400
    status, text = await stack.get("/api/v1/status")
    assert status == 200
    assert f'"epoch":"{client.welcome["epoch"]}"' in text


async def test_two_gateways_of_one_bridge_share_positions(connect: Connect) -> None:
    """A client may leave one gateway and go on at another with its position."""
    async with Stack(gateways=2, poll_s=0.3) as stack:
        client = await connect(stack.ws_url(0))
        await client.wait_for(lambda message: "seq" in message and "snapshot" not in message)
        seen = len(fold(client.history))
        mark = client.mark()
        assert (await resume(client, stack.ws_url(1)))["recovered"] is True
        await client.wait_for("system.status", since=mark)
        assert len(fold(client.history)) == seen


async def test_gateway_with_no_bridge_says_so_and_serves_when_it_comes(connect: Connect) -> None:
    """Nothing upstream is a state the system lives with: clients connect, and get everything once it is there."""
    stack = Stack(poll_s=0.5, wait_ready=False)
    async with stack:
        await stack.bridge.kill()
        await stack.gateway.restart()
        status, text = await stack.get("/readyz")
        assert status == 503
        assert "not connected to the bridge" in text
        client = await connect(stack.ws_url())
        assert client.history or await client.wait_for("notification")
        assert client.welcome["epoch"] == ""
        await stack.bridge.start()
        for kind in STATES:
            await client.wait_for(kind, within_s=10)
        assert client.welcome["epoch"] != ""
        async with asyncio.timeout(5):
            await stack.wait_ready()
