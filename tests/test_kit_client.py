"""The recording clients, against a small server that says what it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.kit.client import Recorder, SseRecorder, get, with_query
from tests.kit.history import Position
from tests.kit.record import MALFORMED, Record, parse


class Server:
    """Sends the texts it was given on connecting, answers every text with itself, closes on request."""

    def __init__(self) -> None:
        self.greeting: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.last_event_ids: list[str | None] = []
        self.url = ""

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        if request.query.get("refuse"):
            raise web.HTTPForbidden
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        for text in self.greeting:
            await answer.send_str(text)
        async for message in answer:
            if message.data == "close":
                await answer.close(code=4408, message=b"did not read")
            elif message.data == "drop":
                assert request.transport is not None
                request.transport.abort()
            else:
                await answer.send_str(message.data if isinstance(message.data, str) else "{}")
        return answer

    async def events(self, request: web.Request) -> web.StreamResponse:
        self.last_event_ids.append(request.headers.get("Last-Event-ID"))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'retry: 250\n\n: hello\n\nid: e.7\nevent: x\ndata: {\ndata: "type": "x"}\n\n')
        return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    application = web.Application()
    application.router.add_get("/ws", serving.websocket)
    application.router.add_get("/events", serving.events)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    serving.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
    yield serving
    await runner.cleanup()


def welcome(epoch: str = "e", seq: int = 5, **resume: Any) -> str:
    resume = {"requested": False, "recovered": False, "replayed": 0, "superseded": 0, "lost": 0} | resume
    body = {"client_id": "c", "subscriptions": ["x"], "epoch": epoch, "seq": seq, "resume": resume}
    return json.dumps({"type": "notification", "data": body})


async def test_recorder_records_everything_with_times(server: Server) -> None:
    """What came before and after is in the history, in order, with rising times."""
    server.greeting = ['{"type": "a"}', '{"type": "b"}']
    async with await Recorder.connect(server.url) as client:
        await client.send({"type": "c"})
        await client.send('{"type": "d"}')
        await client.wait_for("d")
        assert [entry.message["type"] for entry in client.history] == ["a", "b", "c", "d"]
        times_s = [entry.received_s for entry in client.history]
        assert times_s == sorted(times_s)
        assert client.of_type("c", since=1) == [{"type": "c"}]


async def test_wait_for_looks_back_only_to_its_mark(server: Server) -> None:
    """A message that came already counts, unless it lies before the mark."""
    async with await Recorder.connect(server.url) as client:
        await client.send({"type": "a", "n": 1})
        await client.wait_for("a")
        assert (await client.wait_for(lambda message: message.get("n") == 1)).message["type"] == "a"
        mark = client.mark()
        with pytest.raises(AssertionError, match=r"did not come within 0.05 s\n  0 messages came"):
            await client.wait_for("a", since=mark, within_s=0.05)
        assert (await client.ask({"type": "a", "n": 2}, "a"))["n"] == 2


async def test_close_code_and_reason_are_recorded(server: Server) -> None:
    """The server's close, its cut, the client's own close; and nobody waits for what cannot come."""
    async with await Recorder.connect(server.url) as client:
        await client.send("close")
        closed = await client.wait_closed()
        assert (closed.code, closed.reason) == (4408, "did not read")
        with pytest.raises(AssertionError, match="4408"):
            await client.wait_for("anything", within_s=60)
    async with await Recorder.connect(server.url) as client:
        await client.send("drop")
        assert (await client.wait_closed()).code == 1006
    client = await Recorder.connect(server.url)
    closed_by_us = await client.close()
    assert closed_by_us is not None
    assert closed_by_us.code == 1000
    assert await client.close() == closed_by_us


async def test_wait_closed_gives_up_on_an_open_connection(server: Server) -> None:
    """An open connection is not closed."""
    async with await Recorder.connect(server.url) as client:
        with pytest.raises(AssertionError, match="still open"):
            await client.wait_closed(within_s=0.05)


async def test_resume_goes_on_with_the_same_history(server: Server) -> None:
    """It connects with the position of the last live event, and what comes is added."""
    server.greeting = [welcome(seq=5), '{"type": "x", "seq": 6}', '{"type": "x", "seq": 4, "snapshot": true}']
    async with await Recorder.connect(server.url, types=["x", "y.*"], snapshot=False) as client:
        await client.wait_for(lambda message: message.get("seq") == 4)
        assert client.position == Position("e", 6)
        assert client.welcome["seq"] == 5
        server.greeting = [welcome(seq=9, requested=True, recovered=True), '{"type": "x", "seq": 7}']
        await client.resume()
        await client.wait_for(lambda message: message.get("seq") == 7)
        assert client.closed is None
        assert client.position == Position("e", 7)
        assert len(client.history) == 5
    assert server.queries[0] == {"types": "x,y.*", "snapshot": "0"}
    assert server.queries[1] == {"types": "x,y.*", "snapshot": "0", "epoch": "e", "seq": "6"}


async def test_refusal_before_the_upgrade_has_its_status(server: Server) -> None:
    """The HTTP status can be asserted."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await Recorder.connect(f"{server.url}?refuse=1")
    assert caught.value.status == 403
    assert (await get(server.url.replace("ws://", "http://") + "?refuse=1")).status == 403


async def test_sse_recorder_reads_the_stream(server: Server) -> None:
    """Ids, names, data over several lines, comments and the retry time."""
    url = server.url.replace("ws://", "http://").replace("/ws", "/events")
    async with await SseRecorder.connect(url, last_event_id="e.6", types=["x"]) as client:
        assert (await client.wait_for("x")).message == {"type": "x"}
        assert (client.events[0].id, client.events[0].event) == ("e.7", "x")
        assert (client.retry_ms, client.comments, client.last_event_id) == (250, ["hello"], "e.7")
        assert (await client.wait_closed()).code == 1000
    assert server.last_event_ids == ["e.6"]


def test_query_is_added_to_the_url() -> None:
    """Only what is given; after a query that is there already."""
    assert with_query("ws://h/ws") == "ws://h/ws"
    assert with_query("ws://h/ws?a=1", epoch="e", seq=0, types=["*"]) == "ws://h/ws?a=1&epoch=e&seq=0&types=*"


@pytest.mark.parametrize(
    "text", ["", "[1]", '"x"', "{", '{"a": NaN}', '{"a": Infinity}', '{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 2}}']
)
def test_what_is_not_one_strict_object_is_malformed(text: str) -> None:
    """A browser, or a stricter parser, would refuse it: it is kept, and no rule takes it for a message."""
    assert parse(text) == {MALFORMED: text}


async def test_record_wakes_every_waiter() -> None:
    """Several may wait for different messages of one client."""
    record = Record()
    waits = [asyncio.create_task(record.wait_for(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    record.append({"type": "b"})
    record.append({"type": "a"})
    assert [(await wait).message["type"] for wait in waits] == ["a", "b"]
