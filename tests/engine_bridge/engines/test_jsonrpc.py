"""The JSON-RPC adapter against a real HTTP server that does what it is told."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from engine_events.v1 import events_pb2

from engine_bridge.engines.jsonrpc import JsonRpcEngine
from engine_bridge.errors import BadAnswer, CallFailed, MethodMissing, TimedOut, Unreachable
from tests.engine_bridge.fakes import TOPICS
from tests.kit.jsonrpc_engine import JsonRpcEngine as Server

METHODS = {
    "system.status": "system.status",
    "storage.update": "storage.pools.list",
    "agent.status": "agents.list",
    "compression.update": "compression.queue.running",
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as server:
        yield server


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[JsonRpcEngine]:
    engine = JsonRpcEngine(server.url)
    yield engine
    await engine.close()


@asynccontextmanager
async def engine_that_sends(answer: bytes, *, then_close: bool = True) -> AsyncIterator[JsonRpcEngine]:
    """An engine behind a socket that sends these bytes after each request."""
    connections: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        try:
            await reader.readuntil(b"}")
            writer.write(answer)
            if not then_close:
                await reader.read()
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    engine = JsonRpcEngine(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/api/v1/rpc")
    async with listener:
        try:
            yield engine
        finally:
            await engine.close()
            await asyncio.gather(*filter(None, connections))


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_request_is_json_rpc(engine: JsonRpcEngine, server: Server) -> None:
    for topic in engine.topics:
        await engine.fetch(topic, 5)
    await engine.is_healthy(5)
    assert server.invalid_requests == []
    assert [request["method"] for request in server.requests] == [*METHODS.values(), "health.check"]
    assert len({request["id"] for request in server.requests}) == 5


async def test_fetch_gives_each_topic_as_states(engine: JsonRpcEngine) -> None:
    named = {topic: [(event.type, event.key) for event in await engine.fetch(topic, 5)] for topic in engine.topics}
    assert named == {
        "system.status": [("system.status", "current")],
        "storage.update": [("storage.update", "current")],
        "agent.status": [("agent.status", "current")],
        "compression.update": [("compression.update", "queue"), ("compression.update", "job-1")],
    }


async def test_system_status_of_the_documented_shape(engine: JsonRpcEngine) -> None:
    (event,) = await engine.fetch("system.status", 5)
    system = event.system_status
    assert (system.hostname, system.cpu_usage, system.memory_pct) == ("scripted-json", 12.5, 25.0)
    assert list(system.load_average) == [0.5, 0.25, 0.125]


async def test_load_average_as_a_list(engine: JsonRpcEngine, server: Server) -> None:
    server.load_average_as_list()
    (event,) = await engine.fetch("system.status", 5)
    assert list(event.system_status.load_average) == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("topic", TOPICS)
async def test_absent_and_null_fields_are_taken_as_not_known(engine: JsonRpcEngine, server: Server, topic: str) -> None:
    server.null_fields(METHODS[topic])
    assert (await engine.fetch(topic, 5))[0].type == topic
    server.drop_fields(METHODS[topic])
    assert (await engine.fetch(topic, 5))[0].type == topic


@pytest.mark.parametrize("topic", TOPICS)
async def test_missing_method_is_no_failure(engine: JsonRpcEngine, server: Server, topic: str) -> None:
    server.missing(METHODS[topic])
    with pytest.raises(MethodMissing):
        await engine.fetch(topic, 5)


async def test_missing_method_is_known_with_any_http_status(engine: JsonRpcEngine, server: Server) -> None:
    for status in (200, 404, 500):
        server.raw("agents.list", '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}', status=status)
        with pytest.raises(MethodMissing):
            await engine.fetch("agent.status", 5)


async def test_error_is_a_bad_answer_with_its_code_and_words(engine: JsonRpcEngine, server: Server) -> None:
    server.error("agents.list", -32000, "the database is gone")
    with pytest.raises(BadAnswer, match=r"agents.list: error -32000: the database is gone"):
        await engine.fetch("agent.status", 5)


NO_ANSWERS = {
    "not JSON": b"<html>bad gateway</html>",
    "nothing": b"",
    "not UTF-8": b'{"jsonrpc":"2.0","id":1,"result":"\xff\xfe"}',
    "not an object": b"[1, 2]",
    "null": b"null",
    "no result": b'{"jsonrpc":"2.0","id":1}',
    "an error that is no object": b'{"jsonrpc":"2.0","id":1,"error":"broken"}',
    "an error of nothing": b'{"jsonrpc":"2.0","id":1,"error":{}}',
    "an error that nests": b'{"jsonrpc":"2.0","id":1,"error":{"code":[[[]]],"message":{"a":{"b":[]}}}}',
    "too deep": b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of 5,000 digits": b'{"jsonrpc":"2.0","id":1,"result":' + b"9" * 5000 + b"}",
    "another id": b'{"jsonrpc":"2.0","id":99999,"result":[]}',
    "an id of another kind": b'{"jsonrpc":"2.0","id":"1","result":[]}',
    "no id": b'{"jsonrpc":"2.0","result":[]}',
    "a result of the wrong shape": b'{"jsonrpc":"2.0","id":1,"result":"agents"}',
    "truncated": b'{"jsonrpc":"2.0","id":1,"result":[{"agent_id":"a"',
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
async def test_answer_that_is_none_is_a_bad_answer(engine: JsonRpcEngine, server: Server, body: bytes) -> None:
    server.raw("agents.list", body)
    with pytest.raises(BadAnswer):
        await engine.fetch("agent.status", 5)


@pytest.mark.parametrize("depth", range(880, 1010, 3))
async def test_answer_near_the_limit_of_depth_is_bad_and_nothing_worse(
    engine: JsonRpcEngine, server: Server, depth: int
) -> None:
    """Just shallow enough to be parsed, it must not be too deep for what comes after: here, for the error's text."""
    nested = "[" * depth + "]" * depth
    server.raw("agents.list", f'{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":{nested}}}}}')
    with pytest.raises(BadAnswer):
        await engine.fetch("agent.status", 5)


@pytest.mark.parametrize("status", [500, 503, 404, 204, 302])
async def test_result_with_another_http_status_is_a_bad_answer(
    engine: JsonRpcEngine, server: Server, status: int
) -> None:
    server.raw("agents.list", '{"jsonrpc":"2.0","id":1,"result":[]}', status=status)
    with pytest.raises(BadAnswer, match=f"HTTP status {status}"):
        await engine.fetch("agent.status", 5)


async def test_redirect_is_not_followed(server: Server) -> None:
    """An engine cannot make the bridge call somebody else."""
    answer = http(b"", f"Location: {server.url}", status="307 Temporary Redirect")
    async with engine_that_sends(answer) as engine:
        with pytest.raises(BadAnswer, match="HTTP status 307"):
            await engine.fetch("agent.status", 5)
    assert server.requests == []


async def test_nan_and_infinity_are_not_known(engine: JsonRpcEngine, server: Server) -> None:
    """Python's JSON takes them; they are no numbers."""
    server.raw("system.status", '{"jsonrpc":"2.0","id":1,"result":{"cpu_usage":NaN,"uptime":Infinity,"hostname":"h"}}')
    (event,) = await engine.fetch("system.status", 5)
    assert event.system_status == events_pb2.SystemStatus(hostname="h")


async def test_lone_surrogates_in_an_error_can_be_told(engine: JsonRpcEngine, server: Server) -> None:
    server.raw("agents.list", r'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\ud800"}}')
    with pytest.raises(BadAnswer) as caught:
        await engine.fetch("agent.status", 5)
    assert "agents.list: error 1: " in str(caught.value)


async def test_words_of_an_error_are_bounded(engine: JsonRpcEngine, server: Server) -> None:
    server.error("agents.list", message="x" * 100_000)
    with pytest.raises(BadAnswer) as caught:
        await engine.fetch("agent.status", 5)
    assert len(str(caught.value)) == 500


async def test_answer_too_large_is_refused_and_one_below_is_taken(engine: JsonRpcEngine, server: Server) -> None:
    def body(size: int) -> bytes:
        return b'{"jsonrpc":"2.0","id":1,"result":[]}' + b" " * size

    server.raw("agents.list", body(3 << 20))
    with pytest.raises(BadAnswer, match="more than 3145728 bytes"):
        await engine.fetch("agent.status", 5)
    engine = JsonRpcEngine(server.url)
    server.raw("agents.list", body((3 << 20) - 100))
    await engine.fetch("agent.status", 5)
    await engine.close()


async def test_answer_that_unpacks_to_too_much_is_refused() -> None:
    """60 KB on the wire, 60 MB in memory: read until it is too large, and no further."""
    answer = http(gzip.compress(b" " * (60 << 20)), "Content-Encoding: gzip")
    async with engine_that_sends(answer) as engine:
        with pytest.raises(BadAnswer, match="more than"):
            await engine.fetch("agent.status", 5)


async def test_answer_without_an_end_is_refused() -> None:
    async with engine_that_sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * (4 << 20), then_close=False) as engine:
        with pytest.raises(BadAnswer, match="more than"):
            await engine.fetch("agent.status", 5)


BROKEN_HTTP = {
    "no HTTP": b"\x00\x01\x02\x03",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "closed": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "less than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "gzip that is none": http(b"{}", "Content-Encoding: gzip"),
    "a coding nobody has": http(b"{}", "Content-Encoding: rot13"),
    "a header of 100 KB": http(b"{}", "X: " + "x" * 100_000),
    "a header that is not UTF-8": b"HTTP/1.1 200 OK\r\nX\xff\xfe: \xff\r\nContent-Length: 2\r\n\r\n{}",
    "a header with a null byte": b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "a status that is none": b"HTTP/1.1 9999999 OK\r\n\r\n",
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
    "a cookie that is none": http(b"{}", "Set-Cookie: =;;;=\x01"),
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN_HTTP.values(), ids=BROKEN_HTTP.keys())
async def test_broken_http_is_a_failure_of_ours_and_can_be_told(answer: bytes) -> None:
    """No exception of the HTTP library comes out, whatever comes in."""
    async with engine_that_sends(answer) as engine:
        with pytest.raises(CallFailed) as caught:
            await engine.fetch("agent.status", 5)
        assert not isinstance(caught.value, TimedOut)
        await engine.is_healthy(5)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("name", ["closed", "half a head", "less than announced"])
async def test_connection_that_breaks_is_unreachable(name: str) -> None:
    """And not a bad answer: readers are told that the engine was lost."""
    async with engine_that_sends(BROKEN_HTTP[name]) as engine:
        with pytest.raises(Unreachable):
            await engine.fetch("agent.status", 5)
        assert not await engine.is_healthy(5)


async def test_call_that_hangs_ends_at_its_deadline(engine: JsonRpcEngine, server: Server) -> None:
    server.hang("agents.list")
    with pytest.raises(TimedOut, match=r"no answer within 0.1 s"):
        await engine.fetch("agent.status", 0.1)


async def test_answer_that_stops_in_the_middle_ends_at_its_deadline() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    async with engine_that_sends(half, then_close=False) as engine:
        with pytest.raises(TimedOut):
            await engine.fetch("agent.status", 0.2)


async def test_engine_that_is_not_there_is_unreachable(engine: JsonRpcEngine, server: Server) -> None:
    await server.stop()
    with pytest.raises(Unreachable):
        await engine.fetch("agent.status", 5)
    assert not await engine.is_healthy(5)


async def test_engine_that_comes_back_is_reached_again(engine: JsonRpcEngine, server: Server) -> None:
    await engine.fetch("agent.status", 5)
    await server.restart()
    assert await engine.is_healthy(5)
    assert await engine.fetch("agent.status", 5)


async def test_name_that_does_not_exist_is_unreachable() -> None:
    engine = JsonRpcEngine("http://engine.invalid:1/")
    with pytest.raises(Unreachable):
        await engine.fetch("agent.status", 5)
    await engine.close()


@pytest.mark.parametrize(
    ("result", "healthy"),
    [
        ({"status": "healthy"}, True),
        ({"status": "ok"}, True),
        ({"status": "degraded"}, False),
        ({"status": None}, False),
        ({}, True),
        ("fine", True),
        (None, True),
    ],
)
async def test_health_is_what_the_engine_says(
    engine: JsonRpcEngine, server: Server, result: object, healthy: bool
) -> None:
    server.result("health.check", result)
    assert await engine.is_healthy(5) is healthy


async def test_engine_that_answers_at_all_is_healthy(engine: JsonRpcEngine, server: Server) -> None:
    server.missing("health.check")
    assert await engine.is_healthy(5)
    server.error("health.check")
    assert await engine.is_healthy(5)
    server.raw("health.check", "no JSON", status=500)
    assert await engine.is_healthy(5)


async def test_engine_that_does_not_answer_is_not_healthy(engine: JsonRpcEngine, server: Server) -> None:
    server.hang("health.check")
    assert not await engine.is_healthy(0.1)


async def test_nothing_is_pushed(engine: JsonRpcEngine) -> None:
    assert not engine.pushes
    with pytest.raises(MethodMissing):
        await anext(engine.watch(None))


async def test_proxy_of_the_environment_is_not_used(engine: JsonRpcEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await engine.fetch("agent.status", 5)


async def test_adapter_that_was_never_used_can_be_closed() -> None:
    await JsonRpcEngine("http://127.0.0.1:1/").close()


async def test_calls_at_once_get_each_its_own_answer(engine: JsonRpcEngine, server: Server) -> None:
    """The ids tell them apart."""
    answers = await asyncio.gather(*(engine.fetch(topic, 5) for topic in [*TOPICS] * 20))
    assert [events[0].type for events in answers] == [*TOPICS] * 20
