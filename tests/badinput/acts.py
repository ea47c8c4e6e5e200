"""What a hostile client does, once: each act gives the answer that it saw, in the words of the table of inputs."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import jwt

from tests.kit.rawclient import End, Frame, HandshakeRefused, RawClient, frame_bytes

__all__ = [
    "AUDIENCE",
    "Act",
    "Target",
    "Tokens",
    "bad_message",
    "bad_message_then_good",
    "expiring_token",
    "flood",
    "frames",
    "garbage",
    "handshake",
    "no_credentials",
    "resume",
    "slow_handshake",
    "token_first",
    "token_in_header",
]

AUDIENCE = "events"
"""What a JWT must be for."""
_QUIET = "types=heartbeat&snapshot=0"
"""A hostile client that wants no events: what it costs is what it sends."""
_WITHIN_S = 15.0
_TRICKLE_S = 0.5


@dataclass(frozen=True)
class Target:
    """The gateway, and what is needed to be let in."""

    host: str
    port: int
    token: str
    secret: bytes
    bridge: str
    """HOST:PORT of the bridge behind it, to ask what that has counted."""


Act: TypeAlias = Callable[[Target], Awaitable[str]]
Tokens: TypeAlias = Callable[[Target], str]


def handshake(**headers: str) -> Act:
    """A handshake with these headers. `{own}` in them is the gateway's HOST:PORT."""

    async def act(target: Target) -> str:
        own = f"{target.host}:{target.port}"
        filled = {name: value.replace("{own}", own) for name, value in headers.items()}
        try:
            client = await _open(target, headers=filled)
        except HandshakeRefused as refused:
            return str(refused.status)
        await client.close()
        return "101"

    return act


def garbage(*requests: bytes) -> Act:
    """Something that is no request, or a forged one; each in its turn."""
    turns = itertools.cycle(requests)

    async def act(target: Target) -> str:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(next(turns).replace(b"{own}", f"{target.host}:{target.port}".encode()))
            async with asyncio.timeout(_WITHIN_S):
                head = await reader.read(64)
            return head.split()[1].decode() if head.startswith(b"HTTP/") else f"{head!r}"
        finally:
            writer.close()

    return act


async def slow_handshake(target: Target) -> str:
    """The head of a request, a byte every half second."""
    async with await RawClient.open_tcp(target.host, target.port) as client:
        began_s = time.monotonic()
        for byte in itertools.chain(b"GET /ws HTTP/1.1\r\nX: ", itertools.repeat(ord("a"))):
            try:
                await client.send_bytes(bytes([byte]))
            except OSError:
                break
            if await client.read_frame(within_s=_TRICKLE_S) is not End.SILENCE:
                break
            if time.monotonic() - began_s > _WITHIN_S:
                return f"open after {_WITHIN_S:g} s"
        return _when("closed", time.monotonic() - began_s, 10, slack_s=2)


async def no_credentials(target: Target) -> str:
    """A handshake without a token, and then silence."""
    async with await _open(target, token=None) as client:
        began_s = time.monotonic()
        code = await _code(client)
        return _when(code, time.monotonic() - began_s, 5, slack_s=2)


def token_in_header(make: Tokens) -> Act:
    """A handshake with a token in its header."""

    async def act(target: Target) -> str:
        async with await _open(target, token=make(target)) as client:
            return await _code(client, reason=True)

    return act


def token_first(make: Tokens) -> Act:
    """A token in the first message."""

    async def act(target: Target) -> str:
        async with await _open(target, token=None) as client:
            await client.send({"type": "auth", "data": {"token": make(target)}})
            return await _code(client, reason=True)

    return act


async def expiring_token(target: Target) -> str:
    """A good token that ends while the client is connected, which then comes back with a new one."""
    expires_s = int(time.time()) + 2
    token = jwt.encode({"sub": "me", "exp": expires_s, "aud": AUDIENCE, "topics": ["*"]}, target.secret, "HS256")
    async with await _open(target, token=token) as client:
        code = await _code(client)
        late_s = time.time() - expires_s
    async with await _open(target) as client:
        if not isinstance(await client.read_frame(), Frame):
            return f"{code}, not let in again"
    # the clock that a token's end is on, and the one that a timer is on, need not agree to the millisecond
    return f"{code} within 1 s" if -0.1 <= late_s <= 1.5 else f"{code} after {late_s:.1f} s"


def frames(*variants: bytes, then: bytes = b"") -> Act:
    """Frames that may not be, each variant in its turn. The answer is the close code."""
    turns = itertools.cycle(variants)

    async def act(target: Target) -> str:
        async with await _open(target) as client:
            await client.send_bytes(next(turns) + then)
            return await _code(client)

    return act


def bad_message(texts: Iterable[str]) -> Act:
    """Bad messages: one and then a ping, which must be answered; then ten in a row."""
    turns = itertools.cycle(list(texts))

    async def act(target: Target) -> str:
        text = next(turns)
        async with await _open(target) as client:
            await client.send_bytes(frame_bytes(text) + frame_bytes('{"type":"ping"}') + frame_bytes(text) * 10)
            await client.read_all(within_s=_WITHIN_S)
            kinds = list(_told(client))
            code = client.closed.code if client.closed else None
            error = kinds[0].partition(" ")[2] if kinds else ""
            kept = kinds == [f"error {error}", "pong", *[f"error {error}"] * 10]
            return f"error {error}, kept; ten: {code}" if kept else f"{kinds}, {code}"

    return act


def bad_message_then_good(text: str) -> Act:
    """One bad message and then a ping: the connection must be kept."""

    async def act(target: Target) -> str:
        async with await _open(target) as client:
            await client.send_bytes(frame_bytes(text) + frame_bytes('{"type":"ping"}'))
            await _frames(client, 3)
            kinds = list(_told(client))
            return f"{kinds[0]}, kept" if kinds[1:] == ["pong"] else f"{kinds}"

    return act


def resume(position: Mapping[str, str]) -> Act:
    """A position that cannot be resumed from."""
    query = "&".join(f"{name}={value}" for name, value in position.items())

    async def act(target: Target) -> str:
        async with await _open(target, query=f"types=system.status&{query}") as client:
            await _frames(client, 2)
            welcome, state = (entry.message for entry in client.history[:2])
            answer = welcome["data"]["resume"]
            assert answer["requested"] is True
            snapshot = " and a snapshot" if state.get("snapshot") else ""
            return f"recovered {str(answer['recovered']).lower()}{snapshot}"

    return act


def flood(payload: bytes, *, warned: bool = True) -> Act:
    """Far more small frames than anybody may send, in one write, and again until the connection is closed."""

    async def act(target: Target) -> str:
        async with await _open(target) as client:
            client.start_reading()
            try:
                async with asyncio.timeout(_WITHIN_S):
                    for _ in range(4):
                        await client.send_bytes(payload)
            except OSError:
                pass  # closed before all was written
            await client.wait_closed(within_s=_WITHIN_S)
            told = list(_told(client))
            code = client.closed.code if client.closed else None
            limited = told.count("error RATE_LIMITED")
            if not warned:
                return f"{code}"
            return f"error RATE_LIMITED, then {code}" if limited else f"{code} without a warning"

    return act


# --- what they share


async def _open(
    target: Target, *, query: str = _QUIET, token: str | None = "", headers: Mapping[str, str] | None = None
) -> RawClient:
    """`token` "": the good one; None: none."""
    bearer = {} if token is None else {"Authorization": f"Bearer {token or target.token}"}
    url = f"ws://{target.host}:{target.port}/ws?{query}"
    return await RawClient.open(url, headers=bearer | dict(headers or {}), within_s=_WITHIN_S)


async def _code(client: RawClient, *, reason: bool = False) -> str:
    """The code with which the gateway closes."""
    while isinstance(await client.read_frame(within_s=_WITHIN_S), Frame):
        if client.closed is not None:
            return f"{client.closed.code} {client.closed.reason}" if reason else f"{client.closed.code}"
    return f"{client.end or End.SILENCE}"


async def _frames(client: RawClient, count: int) -> None:
    for _ in range(count):
        if not isinstance(await client.read_frame(within_s=_WITHIN_S), Frame):
            return


def _told(client: RawClient) -> Iterator[str]:
    """What it answered after its welcome: `pong`, `error INVALID_JSON`; what it says to everybody is left out."""
    for entry in client.history[1:]:
        kind = entry.message["type"]
        if kind != "heartbeat":
            yield f"error {entry.message['data']['code']}" if kind == "error" else kind


def _when(what: str, took_s: float, limit_s: float, *, slack_s: float) -> str:
    """`slack_s`: what a busy machine adds."""
    return f"{what} within {limit_s:g} s" if took_s <= limit_s + slack_s else f"{what} after {took_s:.1f} s"
