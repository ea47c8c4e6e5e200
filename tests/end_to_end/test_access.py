"""Who may connect, from where, and what they see: the real gateway with tokens and JWTs."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import jwt
import pytest

from tests.end_to_end.conftest import Connect
from tests.kit.client import Recorder, SseRecorder, get
from tests.kit.history import matches
from tests.kit.programs import Stack
from tests.kit.rawclient import Frame, Opcode, RawClient

SECRET = b"0123456789abcdef0123456789abcdef"
STATIC = "static-token-that-sees-everything"
NARROW = "static-token-for-agents"


def token(*topics: str, lives_s: float = 3600) -> str:
    return jwt.encode({"sub": "me", "exp": int(time.time() + lives_s), "topics": list(topics)}, SECRET, "HS256")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack whose gateway asks for credentials; at the end, none of the tokens used may stand in its log."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "tokens").write_text(f"{STATIC}\n{NARROW} agent.*\n")
    stack = Stack(
        poll_s=0.3,
        gateway_settings={
            "WS_GATEWAY_TOKENS_FILE": str(tmp_path / "tokens"),
            "WS_GATEWAY_JWT_KEY_FILE": str(tmp_path / "secret"),
            "WS_GATEWAY_LOG_LEVEL": "debug",
        },
    )
    async with stack:
        yield stack
        log = stack.gateway.stderr()
        assert "static-token" not in log
        assert "eyJ" not in log, "every JWT begins so"


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def test_token_in_the_header_opens_the_stream(guarded: Stack, connect: Connect) -> None:
    for value in (STATIC, token("*")):
        client = await connect(guarded.ws_url(), headers=bearer(value))
        await client.wait_for("system.status")


async def test_token_in_the_first_message_opens_the_stream(guarded: Stack, connect: Connect) -> None:
    client = await connect(guarded.ws_url())
    await client.send({"type": "auth", "data": {"token": STATIC}})
    await client.wait_for("system.status")
    assert client.history[0].message["type"] == "notification", "nothing comes before the token"


async def test_ping_frame_before_the_token_is_answered_and_is_no_wrong_token(guarded: Stack) -> None:
    async with await RawClient.open(guarded.ws_url()) as client:
        await client.send_frame("still there?", Opcode.PING)
        pong = await client.read_frame()
        assert isinstance(pong, Frame)
        assert (pong.opcode, pong.payload) == (Opcode.PONG, b"still there?")
        await client.send({"type": "auth", "data": {"token": STATIC}})
        await client.read_frame()
        assert client.history[0].message["data"]["message"] == "connected"


async def test_token_as_a_subprotocol_opens_the_stream_and_is_not_echoed(guarded: Stack, connect: Connect) -> None:
    client = await connect(guarded.ws_url(), subprotocols=["events.v1", f"bearer.{STATIC}"])
    await client.wait_for("system.status")
    assert client._socket is not None
    assert client._socket.protocol == "events.v1"
    alone = await connect(guarded.ws_url(), subprotocols=[f"bearer.{STATIC}"])
    await alone.wait_for("system.status")


async def test_no_token_in_time_is_4501_and_a_wrong_one_4503_whatever_is_wrong(guarded: Stack) -> None:
    silent = await Recorder.connect(guarded.ws_url())
    began_s = time.monotonic()
    wrong = [
        "nonsense",
        "x" * 5000,
        token("*", lives_s=-1),
        jwt.encode({"sub": "me", "topics": ["*"]}, SECRET, "HS256"),
    ]
    reasons = set()
    for value in wrong:
        client = await Recorder.connect(guarded.ws_url())
        await client.send({"type": "auth", "data": {"token": value}})
        closed = await client.wait_closed()
        assert (closed.code, client.history) == (4503, [])
        reasons.add(closed.reason)
        await client.close()
    client = await Recorder.connect(guarded.ws_url(), headers=bearer("nonsense"))
    closed = await client.wait_closed()
    reasons.add(closed.reason)
    await client.close()
    assert (closed.code, len(reasons)) == (4503, 1)
    closed = await silent.wait_closed(within_s=6)
    assert (closed.code, silent.history) == (4501, [])
    assert 4.5 < time.monotonic() - began_s < 6
    await silent.close()


async def test_token_sees_its_topics_only_whatever_is_asked_for(guarded: Stack, connect: Connect) -> None:
    """At the welcome, the snapshot, live, on subscribe, on resume, over SSE and in the HTTP snapshot."""
    client = await connect(guarded.ws_url(), headers=bearer(NARROW), types=["*"])
    await client.wait_for("agent.status")
    await client.send({"type": "subscribe", "data": {"types": ["system.status"]}, "id": 1})
    refused = await client.wait_for("error")
    assert refused.message["data"]["code"] == "INVALID_SUBSCRIPTION"
    mark = client.mark()
    await client.wait_for("agent.status", since=mark)
    resumed = await connect(guarded.ws_url(), headers=bearer(NARROW), types=["*"], epoch=client.welcome["epoch"], seq=0)
    await resumed.wait_for("agent.status")
    async with await SseRecorder.connect(
        guarded.http_url("/api/v1/events"), headers=bearer(NARROW), types=["*"]
    ) as stream:
        await stream.wait_for("agent.status")
        await stream.wait_for(lambda message: "seq" in message and "snapshot" not in message)
        histories = [client.history, resumed.history, stream.history]
    seen = {message["type"] for history in histories for _, message in history if "seq" in message}
    assert all(matches(["agent.*"], kind) for kind in seen), seen
    snapshot = await get(guarded.http_url("/api/v1/snapshot"), headers=bearer(NARROW))
    assert {event["type"] for event in snapshot.json()["events"]} == {"agent.status"}


async def test_default_subscriptions_are_those_that_may_be_seen(guarded: Stack, connect: Connect) -> None:
    client = await connect(guarded.ws_url(), headers=bearer(NARROW))
    await client.wait_for("agent.status")
    assert client.welcome["subscriptions"] == ["agent.status", "connection_error", "heartbeat"]


async def test_expired_token_ends_the_connection_within_a_second_unless_a_new_one_came(
    guarded: Stack, connect: Connect
) -> None:
    expires_s = int(time.time()) + 3
    lives_s = expires_s - time.time()
    ending = await connect(guarded.ws_url(), headers=bearer(token("*", lives_s=lives_s)))
    renewed = await connect(guarded.ws_url(), headers=bearer(token("agent.*", lives_s=lives_s)))
    stream = await SseRecorder.connect(guarded.http_url("/api/v1/events"), headers=bearer(token("*", lives_s=lives_s)))
    await renewed.send({"type": "auth", "data": {"token": token("*")}, "id": 5})
    answer = await renewed.wait_for("auth")
    assert (answer.message["id"], answer.message["data"]["expires_at"] > expires_s) == (5, True)
    closed = await ending.wait_closed(within_s=5)
    assert closed.code == 4403
    assert -1 <= time.time() - expires_s < 1.2
    await stream.wait_closed(within_s=2)
    await stream.close()
    mark = renewed.mark()
    await renewed.send({"type": "subscribe", "data": {"types": ["system.status"]}})
    await renewed.wait_for("system.status", since=mark)
    assert renewed.closed is None


async def test_plain_http_needs_credentials_too_but_for_health(guarded: Stack) -> None:
    for path in ("/api/v1/snapshot", "/api/v1/status", "/api/v1/events"):
        answer = await get(guarded.http_url(path))
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await get(guarded.http_url(path), headers=bearer("nonsense"))).status == 401
    assert (await get(guarded.http_url("/healthz"))).status == 200
    assert (await get(guarded.http_url("/api/v1/status"), headers=bearer(STATIC))).status == 200


async def test_token_in_the_address_is_taken_only_if_that_is_switched_on(guarded: Stack) -> None:
    assert (await get(guarded.http_url(f"/api/v1/status?token={STATIC}"))).status == 401
    guarded.gateway.settings["WS_GATEWAY_TOKEN_IN_URL"] = "true"  # noqa: S105
    await guarded.gateway.restart()
    assert (await get(guarded.http_url(f"/api/v1/status?token={STATIC}"))).status == 200


async def test_foreign_pages_and_names_are_refused_before_the_upgrade(stack: Stack) -> None:
    """A page of another site, one that hides its origin, and a name that is not ours (DNS rebinding)."""
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"http://{stack.gateway.address}.evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await Recorder.connect(stack.ws_url(), headers=headers)
        assert refused.value.status == status
    own = await Recorder.connect(stack.ws_url(), headers={"Origin": f"http://{stack.gateway.address}"})
    await own.close()


@pytest.mark.parametrize(
    ("program", "variable"), [("bridge", "ENGINE_BRIDGE_LISTEN"), ("gateway", "WS_GATEWAY_LISTEN")]
)
async def test_address_that_others_can_reach_needs_credentials_or_a_word(program: str, variable: str) -> None:
    """Refuses to start with a line that says what to do."""
    stack = Stack()
    chosen = stack.bridge if program == "bridge" else stack.gateway
    chosen.settings[variable] = f"0.0.0.0:{chosen.port}"
    await chosen.start(wait=False)
    assert await chosen.wait_ended() == 2
    lines = chosen.stderr().strip().splitlines()
    assert len(lines) == 1
    assert "INSECURE=true" in lines[0]


async def test_request_that_is_no_http_is_answered_and_logged_in_no_traceback(stack: Stack) -> None:
    """The stack checks the log for tracebacks; one line of garbage must not buy fifty lines of ours."""
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(stack.gateway.place.host, stack.gateway.port)
        writer.write(garbage)
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert b" 400 " in answer[:20]
        writer.close()
        await writer.wait_closed()
