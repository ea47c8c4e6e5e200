"""One WebSocket connection over a real socket: what it is answered, how much it may, and every way it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from tests.kit.client import Recorder, get
from tests.kit.history import check
from tests.kit.rawclient import End, Frame, HandshakeRefused, Opcode, RawClient, frame_bytes
from tests.kit.record import Message
from tests.kit.waiting import until
from tests.ws_gateway.fakes import Served
from ws_gateway.limits import ClientLimits
from ws_gateway.protocol import DEFAULT_TYPES

PING = json.dumps({"type": "ping"})
BIG = "x" * 70_000


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with Served() as served:
        served.state()
        yield served


async def connect(gateway: Served, query: str = "") -> Recorder:
    client = await Recorder.connect(gateway.ws_url(query))
    await client.wait_for("notification")
    return client


async def answers(client: RawClient, count: int) -> list[Message]:
    """The next messages that are answers."""
    found: list[Message] = []
    while len(found) < count:
        frame = await client.read_frame()
        assert isinstance(frame, Frame), frame
        if frame.opcode == Opcode.TEXT and (message := frame.json())["type"] in ("pong", "error", "subscribe"):
            found.append(message)
    return found


async def answered(client: Recorder, count: int) -> None:
    """Returns when so many pings have been answered, one way or the other."""
    async with asyncio.timeout(3):
        while len(client.of_type("pong")) + len(client.of_type("error")) < count:
            await client.wait_for(lambda message: message["type"] in ("pong", "error"), since=client.mark())


async def last_frame(client: RawClient) -> tuple[int, str]:
    """Code and reason of the close frame, after which nothing comes but the end."""
    frames, end = await client.read_all(within_s=3)
    assert end is not End.SILENCE, "the connection is still open"
    opcodes = [frame.opcode for frame in frames]
    assert opcodes.count(Opcode.CLOSE) == 1
    assert opcodes[-1] == Opcode.CLOSE
    return int.from_bytes(frames[-1].payload[:2], "big"), frames[-1].payload[2:].decode()


# --- beginning


async def test_client_that_asks_for_nothing_is_subscribed_to_the_eight(gateway: Served) -> None:
    async with await connect(gateway) as client:
        assert client.welcome["subscriptions"] == sorted(DEFAULT_TYPES)
        await client.wait_for("system.status")


async def test_client_gets_the_types_of_its_address_instead(gateway: Served) -> None:
    async with await connect(gateway, "?types=agent.*,notification&snapshot=0") as client:
        assert client.welcome["subscriptions"] == ["agent.*", "notification"]
        gateway.state("agent.status")
        await client.wait_for("agent.status")
        assert client.of_type("system.status") == []


async def test_client_resumes_after_the_position_of_its_address(gateway: Served) -> None:
    gateway.log()
    async with await connect(gateway, "?epoch=e1&seq=1") as client:
        assert client.welcome["resume"]["recovered"] is True
        assert (await client.wait_for(lambda message: "seq" in message)).message["seq"] == 2


async def test_every_client_has_an_id_of_its_own(gateway: Served) -> None:
    async with await connect(gateway) as one, await connect(gateway) as other:
        assert one.welcome["client_id"] != other.welcome["client_id"]


@pytest.mark.parametrize("query", ["?types=NOT%20A%20TYPE", "?snapshot=perhaps"])
async def test_bad_address_is_refused_before_the_upgrade(gateway: Served, query: str) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        await RawClient.open(gateway.ws_url(query))
    assert refused.value.status == 400
    assert len(gateway.hub) == 0


async def test_client_for_whom_there_is_no_room_is_refused_before_the_upgrade_and_told_to_come_back() -> None:
    async with Served(max_clients=2, max_clients_per_address=1) as gateway, await connect(gateway):
        answer = await get(gateway.http_url("/ws"))
        assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
        gateway.admission.enter("192.0.2.1")
        assert (await get(gateway.http_url("/ws"))).status == 503
        assert gateway.admission.refused == 2


async def test_request_without_an_upgrade_takes_no_place() -> None:
    async with Served(max_clients=1) as gateway:
        for _ in range(3):
            assert (await get(gateway.http_url("/ws"))).status == 400
        async with await connect(gateway):
            assert len(gateway.hub) == 1


# --- requests


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"type": "ping"}, "pong"),
        ({"type": "subscribe", "data": {"types": ["a.b"]}}, "subscribe"),
        ({"type": "unsubscribe", "data": {"types": ["a.b"]}}, "unsubscribe"),
        ({"type": "nonsense"}, "error"),
    ],
)
@pytest.mark.parametrize("request_id", ["seven", 7, 0, ""])
async def test_answer_echoes_the_id_of_its_request(
    gateway: Served, request_: dict[str, Any], kind: str, request_id: str | int
) -> None:
    async with await connect(gateway) as client:
        assert (await client.ask({**request_, "id": request_id}, kind))["id"] == request_id
        assert "id" not in await client.ask(request_, kind)


async def test_subscription_is_acknowledged_before_its_snapshot(gateway: Served) -> None:
    async with await connect(gateway, "?types=notification") as client:
        mark = client.mark()
        await client.send({"type": "subscribe", "types": ["system.*"]})
        await client.wait_for("system.status")
        acknowledged, snapshot = [entry.message for entry in client.history[mark:]]
        assert acknowledged["data"] == {"subscriptions": ["notification", "system.*"]}
        assert snapshot["snapshot"] is True


async def test_types_that_were_unsubscribed_come_no_more(gateway: Served) -> None:
    async with await connect(gateway) as client:
        answer = await client.ask({"type": "unsubscribe", "types": ["system.status"]}, "unsubscribe")
        assert "system.status" not in answer["data"]["subscriptions"]
        mark = client.mark()
        gateway.state()
        gateway.log()
        await client.wait_for("notification", since=mark)
        assert client.of_type("system.status", since=mark) == []


async def test_refused_subscription_changes_nothing(gateway: Served) -> None:
    async with await connect(gateway, "?types=notification") as client:
        types = [f"t{number}" for number in range(64)]
        error = await client.ask({"type": "subscribe", "types": types, "id": 1}, "error")
        assert (error["data"]["code"], error["id"]) == ("TOO_MANY_SUBSCRIPTIONS", 1)
        answer = await client.ask({"type": "unsubscribe", "types": ["t1"]}, "unsubscribe")
        assert answer["data"]["subscriptions"] == ["notification"]


async def test_client_that_changes_its_subscriptions_shares_bytes_with_those_that_want_the_same(
    gateway: Served,
) -> None:
    """Equal sets are one object, whichever way they came about."""
    async with await connect(gateway, "?types=a,b") as one, await connect(gateway, "?types=a") as other:
        await other.ask({"type": "subscribe", "types": ["b"]}, "subscribe")
        before = gateway.hub.delivered_writes
        gateway.log("b")
        await one.wait_for("b")
        await other.wait_for("b")
        assert gateway.hub.delivered_writes == before + 2


# --- too much


async def test_ten_bad_messages_in_a_row_end_the_connection_and_each_is_answered(gateway: Served) -> None:
    async with await connect(gateway) as client:
        for _ in range(10):
            await client.send("nonsense")
        closed = await client.wait_closed()
        assert (closed.code, len(client.of_type("error"))) == (4500, 10)


async def test_good_message_begins_the_count_of_bad_ones_anew(gateway: Served) -> None:
    async with await connect(gateway) as client:
        for _ in range(3):
            for _ in range(9):
                await client.send("nonsense")
            await client.ask({"type": "ping"}, "pong")
        assert (client.closed, len(client.of_type("error"))) == (None, 27)


async def test_burst_is_answered_and_what_goes_on_beyond_it_is_told_and_then_ends_the_connection(
    gateway: Served,
) -> None:
    """100 at once; 20 more are told that they are too many; the next is the last."""
    async with await connect(gateway) as client:
        for _ in range(150):
            await client.send(PING)
        closed = await client.wait_closed()
        assert closed.code == 4429
        errors = [error["data"]["code"] for error in client.of_type("error")]
        assert errors == ["RATE_LIMITED"] * len(errors)
        # some time passes, in which one or two more become allowed, and the count of those over it begins anew
        assert 100 <= len(client.of_type("pong")) <= 120
        assert 20 <= len(errors) <= 40


async def test_ping_frames_cost_as_much_as_messages() -> None:
    """The first hundred are answered, each with what it held; then twenty are not, and the next is the last."""
    async with Served() as gateway, await RawClient.open(gateway.ws_url("?types=a")) as client:
        await client.send_bytes(b"".join(frame_bytes(f"{number}", Opcode.PING) for number in range(1000)))
        frames, end = await client.read_all(within_s=3)
        assert end is not End.SILENCE
        pongs = [frame.payload.decode() for frame in frames if frame.opcode == Opcode.PONG]
        assert pongs[:100] == [f"{number}" for number in range(100)]
        assert len(pongs) < 120  # some time passes, in which one or two more become allowed
        assert client.closed is not None
        assert client.closed.code == 4429


async def test_flood_that_was_refused_is_read_no_more() -> None:
    """To look for the answer to the close frame in it would take longer than all that came before."""
    async with Served() as gateway, await RawClient.open(gateway.ws_url("?types=a")) as client:
        await client.send_bytes(frame_bytes("", Opcode.PING) * 1000)
        client.start_reading()
        assert (await client.wait_closed()).code == 4429
        (transport,) = gateway.transports
        assert not transport.is_reading()
        await gateway.empty()


async def test_pongs_that_nobody_asked_for_cost_as_much_and_are_not_answered() -> None:
    async with Served() as gateway, await RawClient.open(gateway.ws_url("?types=a")) as client:
        await client.send_bytes(frame_bytes("", Opcode.PONG) * 1000)
        assert (await last_frame(client))[0] == 4429


async def test_few_messages_beyond_the_burst_are_told_and_forgiven(gateway: Served) -> None:
    async with await connect(gateway) as client:
        for _ in range(110):
            await client.send(PING)
        await answered(client, 110)
        assert 1 <= len(client.of_type("error")) <= 10
        assert client.closed is None


async def test_message_within_the_rate_begins_the_count_of_those_over_it_anew(gateway: Served) -> None:
    """Twice fifteen too many, with a quiet moment between them, are forgiven."""
    async with await connect(gateway) as client:
        for _ in range(115):
            await client.send(PING)
        await answered(client, 115)
        quiet = asyncio.Event()
        asyncio.get_running_loop().call_later(0.4, quiet.set)  # eight more are allowed then
        await quiet.wait()
        for _ in range(8 + 15):
            await client.send(PING)
        await answered(client, 115 + 8 + 15)
        assert len(client.of_type("error")) > 20
        assert client.closed is None


async def test_largest_message_is_taken_and_one_byte_more_is_1009() -> None:
    limits = ClientLimits(message_bytes=200)
    async with Served(limits=limits) as gateway, await RawClient.open(gateway.ws_url()) as client:
        request = json.dumps({"type": "ping", "x": ""})
        await client.send_frame(request.replace('""', '"' + "x" * (200 - len(request)) + '"'))
        assert [answer["type"] for answer in await answers(client, 1)] == ["pong"]
        await client.send_frame(request.replace('""', '"' + "x" * (201 - len(request)) + '"'))
        assert (await last_frame(client))[0] == 1009


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(frame_bytes(b"\x00", Opcode.BINARY), 1003, id="binary"),
        pytest.param(frame_bytes(b"\xff\xfe"), 1007, id="not UTF-8"),
        pytest.param(frame_bytes(b"x", 3), 1002, id="unknown opcode"),
        pytest.param(frame_bytes(PING, reserved=4), 1002, id="reserved bit"),
        pytest.param(frame_bytes(b"x", Opcode.CONTINUATION), 1002, id="continuation of nothing"),
        pytest.param(frame_bytes(b"x" * 126, Opcode.PING), 1002, id="large control frame"),
        pytest.param(frame_bytes(b"\x03\xee", Opcode.CLOSE), 1002, id="close code 1006"),
        pytest.param(frame_bytes(b"\xff\xff", Opcode.CLOSE), 1002, id="close code 65535"),
    ],
)
async def test_frame_that_may_not_be_ends_the_connection_with_its_code(
    gateway: Served, frame: bytes, code: int
) -> None:
    async with await RawClient.open(gateway.ws_url()) as client:
        await client.send_bytes(frame)
        assert (await last_frame(client))[0] == code
        await gateway.empty()


async def test_client_that_does_not_read_its_answers_is_not_listened_to_until_it_does() -> None:
    """Each answer is longer than its request: they would pile up. None is lost, and their order is kept."""
    async with Served() as gateway, await RawClient.open(gateway.ws_url(), receive_buffer_bytes=4096) as client:
        names = [f"a{number:02}." + "x" * 120 for number in range(50)]
        await client.send({"type": "subscribe", "types": names, "id": "first"})
        for number in range(90):
            await client.send({"type": "subscribe", "types": names[:1], "id": number})
        (transport,) = gateway.transports
        await until(lambda: transport.get_write_buffer_size() > 64 << 10, within_s=3, what="a full buffer")
        most = 0
        for _ in range(200):
            await asyncio.sleep(0)
            most = max(most, transport.get_write_buffer_size())
        assert most < (64 << 10) + 2 * 8000
        assert [answer["id"] for answer in await answers(client, 91)] == ["first", *range(90)]


async def test_others_have_their_turn_after_32_messages() -> None:
    """Tiny ones come faster than the loop would turn by itself: here 60 at once, each of which adds a type."""
    async with Served() as gateway, await RawClient.open(gateway.ws_url("?types=a")) as client:
        (subscriber,) = gateway.hub._clients.values()  # how many were handled shows nowhere else within the same turn
        requests = [json.dumps({"type": "subscribe", "types": [f"t{number}"]}) for number in range(60)]
        await client.send_bytes(b"".join(map(frame_bytes, requests)))
        handled = [0]
        async with asyncio.timeout(3):
            while handled[-1] < 60:
                await asyncio.sleep(0)
                handled.append(len(subscriber.topics.patterns) - 1)
        assert max(later - earlier for earlier, later in pairwise(handled)) == 32


# --- ending


async def fill(gateway: Served) -> None:
    """Makes the client behind that wants `big`."""

    def is_behind() -> bool:
        gateway.log("big", fill=BIG)
        return gateway.hub.behind_count > 0

    await until(is_behind, within_s=3, what="a client behind")


async def test_client_that_closes_gets_its_code_back_and_is_forgotten(gateway: Served) -> None:
    async with await RawClient.open(gateway.ws_url()) as client:
        await client.send_frame((1000).to_bytes(2, "big") + b"bye", Opcode.CLOSE)
        assert (await last_frame(client))[0] == 1000
        await gateway.empty()


@pytest.mark.parametrize("way", ["reset", "half close", "close without a word"])
async def test_client_that_vanishes_is_forgotten_at_once(way: str) -> None:
    """Its place is free again, and no task of it is left."""
    async with Served(max_clients=1) as gateway:
        before = len(asyncio.all_tasks())
        client = await RawClient.open(gateway.ws_url())
        assert len(gateway.hub) == 1
        if way == "reset":
            await client.reset()
        elif way == "half close":
            client.half_close()
        else:
            await client.close()
        await gateway.empty()
        await until(lambda: len(asyncio.all_tasks()) <= before, within_s=2, what="no task left")
        await client.close()
        async with await connect(gateway):
            pass


async def test_stalled_client_that_reads_again_finds_4408_and_nothing_after_it() -> None:
    async with Served(stall_s=0.3) as gateway:
        client = await RawClient.open(gateway.ws_url("?types=big"), receive_buffer_bytes=4096)
        async with client:
            await fill(gateway)
            await until(lambda: gateway.hub.dropped_clients == 1, within_s=3, what="dropped")
            gateway.log("big")
            assert await last_frame(client) == (4408, "did not read")


async def test_stalled_client_that_never_reads_is_cut() -> None:
    """A second after it was dropped: neither its socket nor its task is left."""
    async with Served(stall_s=0.2) as gateway:
        before = len(asyncio.all_tasks())
        async with await RawClient.open(gateway.ws_url("?types=big"), receive_buffer_bytes=4096):
            await fill(gateway)
            sock = gateway.transports[0].get_extra_info("socket")
            await until(lambda: sock.fileno() == -1, within_s=3, what="its socket closed")
            await until(lambda: len(asyncio.all_tasks()) <= before, within_s=2, what="no task left")


async def test_stopping_tells_every_client_when_to_come_back_each_another_time(gateway: Served) -> None:
    clients = [await connect(gateway) for _ in range(10)]
    await gateway.sessions.close_all(2.0)
    waits = []
    for client in clients:
        closed = await client.wait_closed()
        assert closed.code == 1012
        name, _, value = closed.reason.partition("=")
        assert name == "retry_after_ms"
        waits.append(int(value))
        await client.close()
    assert len(set(waits)) == 10
    assert min(waits) >= 250
    assert len(gateway.hub) == 0


async def test_stopping_does_not_wait_for_a_client_that_does_not_read() -> None:
    async with (
        Served() as gateway,
        await RawClient.open(gateway.ws_url("?types=big"), receive_buffer_bytes=4096),
    ):
        await fill(gateway)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await gateway.sessions.close_all(0.3)
        assert loop.time() - began_s < 0.6
        assert all(transport.is_closing() for transport in gateway.transports)


async def test_gateway_that_is_stopping_takes_nobody_in(gateway: Served) -> None:
    await gateway.sessions.close_all(0.1)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await Recorder.connect(gateway.ws_url())
    assert refused.value.status == 503


async def test_what_a_client_receives_keeps_every_rule_of_the_contract(gateway: Served) -> None:
    async with await connect(gateway, "?types=*") as client:
        for _ in range(5):
            gateway.state()
            gateway.log()
        await client.ask({"type": "subscribe", "types": ["agent.*"], "id": 1}, "subscribe")
        gateway.lose_bridge()
        await client.wait_for("rpc_error")
        gateway.new_epoch("e2")
        gateway.state()
        await client.wait_for(lambda message: message.get("seq") == 1, since=client.mark())
        assert check(client.history) == []
