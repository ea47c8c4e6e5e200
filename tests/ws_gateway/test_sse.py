"""The same stream as Server-Sent Events: ids that EventSource can come back with, whole chunks, and its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.kit.client import SseRecorder, get
from tests.kit.waiting import until
from tests.ws_gateway.fakes import Served, log, state

PATH = "/api/v1/events"


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with Served() as served:
        served.publish(log(1), state(2), log(3))
        yield served


async def connect(gateway: Served, query: str = "", last_event_id: str | None = None) -> SseRecorder:
    client = await SseRecorder.connect(gateway.http_url(PATH + query), last_event_id=last_event_id)
    await client.wait_for("notification")
    return client


async def test_stream_is_a_welcome_a_snapshot_and_what_is_new(gateway: Served) -> None:
    """Each event under its type's name, so that addEventListener finds it; the data is what /ws sends."""
    async with await connect(gateway) as client:
        await client.wait_for("system.status")
        gateway.log()
        await client.wait_for(lambda message: message.get("seq") == 4)
        assert [event.event for event in client.events] == ["notification", "system.status", "notification"]
        assert [message.get("seq") for _, message in client.history] == [None, 2, 4]
        assert client.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert client.headers["Cache-Control"] == "no-store"


async def test_ids_are_positions_to_resume_from(gateway: Served) -> None:
    """The welcome has the client's place and each live event its own; a snapshot has none, since it comes out of turn:
    coming back with its number would bring events again, or miss some."""
    async with await connect(gateway) as client:
        gateway.log()
        await client.wait_for(lambda message: message.get("seq") == 4)
        assert [event.id for event in client.events] == ["e1.3", None, "e1.4"]


async def test_client_that_comes_back_with_the_last_id_misses_nothing(gateway: Served) -> None:
    async with await connect(gateway) as client:
        last = client.last_event_id
    gateway.publish(log(4), state(5), log(6))
    async with await connect(gateway, last_event_id=last) as client:
        await client.wait_for(lambda message: message.get("seq") == 6)
        assert client.history[0].message["data"]["resume"]["recovered"] is True
        assert [message.get("seq") for _, message in client.history] == [None, 4, 5, 6]


async def test_recovery_of_the_bridge_does_not_set_the_clients_place_back(gateway: Served) -> None:
    """Unchanged states are sent again; their old numbers are no place to come back to."""
    async with await connect(gateway) as client:
        gateway.log()
        await client.wait_for(lambda message: message.get("seq") == 4)
        gateway.lose_bridge()
        await client.wait_for("rpc_error")
        mark = client.record.mark()
        gateway.recover()
        await client.wait_for("system.status", since=mark)
        assert client.last_event_id == "e1.4"


async def test_slow_replay_that_breaks_off_is_taken_up_where_it_was(gateway: Served) -> None:
    """The welcome of a client that resumes has its old place, not that of the journal's end."""
    async with await connect(gateway, last_event_id="e1.1") as client:
        assert [event.id for event in client.events][:1] == ["e1.1"]


async def test_header_comes_before_the_address_as_position(gateway: Served) -> None:
    """EventSource comes back to the same address: what it has received since is in the header."""
    async with await connect(gateway, "?epoch=e1&seq=0", last_event_id="e1.2") as client:
        await client.wait_for(lambda message: message.get("seq") == 3)
        assert client.history[0].message["data"]["resume"]["replayed"] == 1
    async with await connect(gateway, "?epoch=e1&seq=2") as client:
        assert client.history[0].message["data"]["resume"]["replayed"] == 1


async def test_unreadable_last_id_gets_a_snapshot(gateway: Served) -> None:
    async with await connect(gateway, last_event_id="nonsense") as client:
        assert client.history[0].message["data"]["resume"]["recovered"] is False
        await client.wait_for("system.status")


async def test_types_of_the_address_are_those_that_come(gateway: Served) -> None:
    async with await connect(gateway, "?types=a.*&snapshot=0") as client:
        gateway.log()
        gateway.log("a.b")
        await client.wait_for("a.b")
        assert len(client.history) == 2


async def test_quiet_stream_is_kept_alive_by_comments() -> None:
    async with Served(heartbeat_s=0.5) as gateway:
        client = await SseRecorder.connect(gateway.http_url(PATH + "?types=a"))
        async with client:
            await until(lambda: len(client.comments) >= 2, within_s=3, what="comments")
            assert len(client.history) == 1


async def test_client_that_hangs_up_is_forgotten_and_its_place_is_free() -> None:
    async with Served(max_clients=1) as gateway:
        for _ in range(3):
            async with await connect(gateway):
                assert len(gateway.hub) == 1
                assert (await get(gateway.http_url(PATH))).status == 503
            await gateway.empty()
            await until(lambda: gateway.admission.enter("x") is None, within_s=2, what="a free place")
            gateway.admission.leave("x")


async def test_too_many_of_one_address_are_refused() -> None:
    async with Served(max_clients_per_address=1) as gateway, await connect(gateway):
        answer = await get(gateway.http_url(PATH))
        assert (answer.status, answer.headers["Retry-After"]) == (429, "5")


async def test_bad_types_are_refused(gateway: Served) -> None:
    answer = await get(gateway.http_url(PATH + "?types=NO%20TYPE"))
    assert answer.status == 400
    assert "INVALID_SUBSCRIPTION" in answer.text


async def test_http_1_0_cannot_have_a_stream(gateway: Served) -> None:
    """It knows no chunks, and each event is one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {PATH} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
    async with asyncio.timeout(3):
        status = await reader.readline()
    assert b" 505 " in status
    writer.close()


async def test_closing_ends_the_response_so_that_the_client_comes_back(gateway: Served) -> None:
    """In order, as far as HTTP goes: EventSource takes that as a reason to connect again."""
    async with await connect(gateway) as client:
        await gateway.streams.close_all()
        assert (await client.wait_closed()).code == 1000
        await gateway.empty()


async def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    async with Served(stall_s=30) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(f"GET {PATH}?types=big HTTP/1.1\r\nHost: a\r\n\r\n".encode())

        def is_behind() -> bool:
            gateway.log("big", fill="x" * 500_000)
            return gateway.hub.behind_count > 0

        await until(lambda: len(gateway.hub) > 0 and is_behind(), within_s=5, what="a client behind")
        await gateway.streams.close_all()
        await until(lambda: all(t.is_closing() for t in gateway.transports), within_s=1, what="aborted")
        writer.close()
        assert not reader.at_eof()


async def test_stalled_client_is_cut() -> None:
    """There is no close frame here: the connection just ends."""
    async with Served(stall_s=0.2) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(f"GET {PATH}?types=big HTTP/1.1\r\nHost: a\r\n\r\n".encode())

        def is_dropped() -> bool:
            if not gateway.hub.behind_count:
                gateway.log("big", fill="x" * 500_000)
            return gateway.hub.dropped_clients == 1

        await until(lambda: gateway.hub.dropped_clients == 1 or is_dropped(), within_s=5, what="dropped")
        await until(lambda: gateway.transports[0].is_closing(), within_s=1, what="aborted")
        writer.close()
