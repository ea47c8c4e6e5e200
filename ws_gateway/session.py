"""One WebSocket connection: its handshake, what the browser asks, and its end."""

import asyncio
import secrets
import time
import weakref
from typing import Literal

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from eventlog import EVERYTHING, Topics
from ws_gateway import protocol, replies
from ws_gateway.access import OPEN, Access, Denied
from ws_gateway.credentials import Grant
from ws_gateway.door import Door
from ws_gateway.gate import ADDRESS
from ws_gateway.hub import Hub
from ws_gateway.limits import Admission, ClientLimits, Full, TokenBucket
from ws_gateway.subscriber import Subscriber
from ws_gateway.wire import WEBSOCKET, close_frame

__all__ = ["SUBPROTOCOL", "Sessions", "answer_close", "open_socket", "refuse", "topics_of"]

log = structlog.get_logger()

_CLOSE_EXPIRED = 4403
_CLOSE_STALLED = 4408
_CLOSE_RATE = 4429
_CLOSE_BAD_MESSAGES = 4500
_CLOSE_NO_CREDENTIALS = 4501
_CLOSE_REFUSED = 4503
SUBPROTOCOL = "events.v1"
"""A browser that sends its token as a subprotocol offers this one too, since one of those it offers must be chosen, and
the token is never echoed."""
_EXPIRY_LOOK_S = 30.0
"""The wall clock, which a token's end is on, may be stepped: it is looked at again at least this often."""
_OWN_TYPES = frozenset(("heartbeat", "connection_error"))
"""What the gateway says of the connection itself; no token needs to list it."""
_WARNED_MESSAGES = 20
"""So many are answered RATE_LIMITED before the connection is closed."""
_TURN = 160
"""So much is handled without giving others a turn, since tiny messages come faster than the loop would turn by itself:
32 messages, or so many pings that a flood of them is found out before more of it is read."""
_MESSAGE_COST, _PING_COST = 5, 1
_ENDS = frozenset((WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED))
_DRAIN_POLL_S = 0.05
_LIMITS = ClientLimits()


_shared_topics: weakref.WeakValueDictionary[tuple[frozenset[str], Topics], Topics] = weakref.WeakValueDictionary()
"""As long as anybody wants them."""


def topics_of(patterns: frozenset[str], within: Topics = EVERYTHING) -> Topics:
    """What a client wants, as far as it may see it. Clients that want and may the same share one object, and with it
    the batches made for it. A type by itself that it may not see is left out of its subscriptions."""
    topics = _shared_topics.get((patterns, within))
    if topics is None:
        if within == EVERYTHING:
            topics = Topics(patterns)
        else:
            bound = Topics(within.patterns | _OWN_TYPES)
            topics = Topics([name for name in patterns if name.endswith("*") or bound.matches(name)], within=bound)
        _shared_topics[patterns, within] = topics
    return topics


def open_socket(max_message_bytes: int, *, close_s: float) -> web.WebSocketResponse:
    """The WebSocket that a session speaks through, to be prepared. Pings and a close are for its reader to answer."""
    # Without compression the bytes of an event are the same for every client, and a connection costs a seventh of the
    # memory. max_msg_size is exclusive.
    return web.WebSocketResponse(
        autoclose=False,
        autoping=False,
        compress=False,
        timeout=close_s,
        max_msg_size=max_message_bytes + 1,
        heartbeat=None,
        protocols=(SUBPROTOCOL,),
    )


async def answer_close(socket: web.WebSocketResponse, code: int) -> None:
    """The other half of a closing handshake that the client began with `code` (0: it gave none)."""
    # aiohttp takes 1006 and all from 5000 up, which no frame may hold (RFC 6455, 7.4)
    is_allowed = code == 0 or (code < 5000 and code != WSCloseCode.ABNORMAL_CLOSURE)
    await socket.close(code=WSCloseCode.OK if is_allowed else WSCloseCode.PROTOCOL_ERROR, drain=False)


class Sessions:
    """All WebSocket connections of one gateway."""

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        *,
        limits: ClientLimits = _LIMITS,
        request_limits: protocol.Limits = protocol.DEFAULT_LIMITS,
        access: Access = OPEN,
    ) -> None:
        self._hub = hub
        self._access = access
        self._admission = admission
        self._limits = limits
        self._request_limits = request_limits
        self._open: dict[str, _Session] = {}
        self._stopping = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`."""
        query = protocol.parse_query(request.query.items(), self._request_limits)
        if isinstance(query, protocol.Refusal):
            raise web.HTTPBadRequest(text=f"{query.code}: {query.message}\n")
        if self._stopping:
            raise web.HTTPServiceUnavailable(text="stopping\n")
        address = request.get(ADDRESS, request.remote or "")
        grant = self._access.of(request)
        refuse(self._admission.enter(address, is_narrow=Door.is_narrow(request.transport)))
        try:
            socket = open_socket(self._limits.message_bytes, close_s=self._limits.close_s)
            try:
                await socket.prepare(request)
            except ConnectionError:
                return socket  # it went away while it waited
            transport = request.transport
            if transport is None:
                return socket
            session = _Session(
                socket, transport, self._hub, address, query, self._access, grant, self._limits, self._request_limits
            )
            self._open[session.client.client_id] = session
            try:
                await session.run(query)
            finally:
                del self._open[session.client.client_id]
                if session.ended is not None:
                    session.ended.set()
                log.debug("client_left", client_id=session.client.client_id, close_code=socket.close_code)
            return socket
        finally:
            self._admission.leave(address)

    async def close_all(self, within_s: float) -> None:
        """Tells every client to come back, each at a time of its own, and waits no longer than `within_s` for them."""
        self._stopping = True
        sessions = list(self._open.values())
        if not sessions:
            return
        ended = [session.watch() for session in sessions]
        spread_ms = 500 + 5 * len(sessions)
        for index, session in enumerate(sessions):
            session.end(WSCloseCode.SERVICE_RESTART, f"retry_after_ms={250 + spread_ms * index // len(sessions)}")
        try:
            async with asyncio.timeout(within_s):
                for end in ended:
                    await end.wait()
        except TimeoutError:
            for session in sessions:
                session.transport.abort()


def refuse(full: Full | None) -> None:
    """Answers a client for which there is no room, before anything is spent on it."""
    if full is Full.EVERYWHERE:
        raise web.HTTPServiceUnavailable(text="no room\n", headers={"Retry-After": "5", "Connection": "close"})
    if full is Full.ADDRESS:
        raise web.HTTPTooManyRequests(
            text="too many connections from this address\n", headers={"Retry-After": "5", "Connection": "close"}
        )


class _Session:
    __slots__ = (
        "_access",
        "_bad_in_a_row",
        "_bucket",
        "_expiry",
        "_grant",
        "_hub",
        "_last_word",
        "_limits",
        "_over_rate",
        "_reading",
        "_request_limits",
        "_socket",
        "_taken",
        "client",
        "ended",
        "transport",
    )

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        hub: Hub,
        address: str,
        query: protocol.Query,
        access: Access,
        grant: Grant | Denied,
        limits: ClientLimits,
        request_limits: protocol.Limits,
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._access = access
        self._grant = grant
        self._expiry: asyncio.TimerHandle | None = None
        self._reading: asyncio.Timeout | None = None
        self._last_word: tuple[int, str] | None = None
        self._bad_in_a_row = 0
        self._over_rate = 0
        self._limits = limits
        self._request_limits = request_limits
        self._taken = 0
        self._bucket = TokenBucket(limits.messages_per_s, limits.messages_burst, time.monotonic())
        self.transport = transport
        self.ended: asyncio.Event | None = None
        """Made when somebody waits for it: on each of many connections it would be a twentieth of what they take."""
        self.client = Subscriber(
            secrets.token_hex(8),
            address,
            transport,
            WEBSOCKET,
            topics_of(frozenset(query.types or protocol.DEFAULT_TYPES)),
            self._evict,
        )

    async def run(self, query: protocol.Query) -> None:
        """Serves the connection to its end."""
        log.debug("client_joined", client_id=self.client.client_id, address=self.client.address)
        try:
            async with asyncio.timeout(None) as self._reading:
                if await self._is_admitted():
                    await self._hub.reach(query.resume)
                    self._hub.join(self.client, resume=query.resume, snapshot=query.snapshot)
                    await self._read()
        except TimeoutError:
            pass  # `end`
        finally:
            self._reading = None
            self._hub.leave(self.client)
            if self._expiry is not None:
                self._expiry.cancel()
        if self._last_word is not None:
            await self._close(*self._last_word)

    def watch(self) -> asyncio.Event:
        """Set when the connection is over."""
        self.ended = asyncio.Event()
        return self.ended

    def end(self, code: int, reason: str) -> None:
        """From now on nothing is sent but the close frame, and nothing is read but its answer; of a flood nothing."""
        self._hub.leave(self.client)
        if code == _CLOSE_RATE:
            self.transport.pause_reading()
        if self._reading is not None and self._last_word is None:
            self._last_word = (code, reason)
            # wakes the task that reads, which alone can read the answer too: aiohttp does not wait for it otherwise
            self._reading.reschedule(asyncio.get_running_loop().time())

    async def _is_admitted(self) -> bool:
        """Whether the client has shown what it may see, with its handshake or with its first message. Until then
        nothing is sent to it, and nothing else is taken from it."""
        grant = self._grant
        if grant is Denied.NO_TOKEN:
            token = await self._first_token()
            if token is None:
                self.end(_CLOSE_NO_CREDENTIALS, "no credentials in time")
                return False
            grant = self._access.check(token)
        if isinstance(grant, Denied):
            self.end(_CLOSE_REFUSED, "refused")
            return False
        self._take(grant)
        self.client.topics = topics_of(self.client.topics.patterns, grant.topics)
        return True

    async def _first_token(self) -> str | None:
        try:
            async with asyncio.timeout(self._limits.credentials_s):
                message = await self._next()
        except TimeoutError:
            return None
        if message is None or message.type is not WSMsgType.TEXT:
            return None
        command = protocol.parse(message.data, self._request_limits)
        return command.token if isinstance(command, protocol.Auth) else None

    def _take(self, grant: Grant) -> None:
        """From now on this is what the client may see, and until when."""
        self._grant = grant
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if grant.expires_at_s is not None:
            left_s = grant.expires_at_s - time.time()
            if left_s <= 0:
                self.end(_CLOSE_EXPIRED, "credentials expired")
            else:
                wait_s = min(left_s, _EXPIRY_LOOK_S)
                self._expiry = asyncio.get_running_loop().call_later(wait_s, self._take, grant)

    async def _read(self) -> None:
        while (message := await self._next()) is not None:
            if message.type is WSMsgType.TEXT:
                if not await self._handle(message.data):
                    return
            elif message.type is WSMsgType.BINARY:
                self.end(WSCloseCode.UNSUPPORTED_DATA, "text frames only")
                return

    async def _next(self) -> WSMessage | None:
        """The next message; None: the connection ends. Pings and pongs are taken care of here, at the price of a
        message each: aiohttp would answer thousands of them before anybody else had a turn."""
        while True:
            if self._taken >= _TURN:
                self._taken = 0
                await asyncio.sleep(0)
            message: WSMessage = await self._socket.receive()
            if message.type is WSMsgType.CLOSE:
                await answer_close(self._socket, message.data)
            if message.type in _ENDS:
                return None
            if message.type is not WSMsgType.PING and message.type is not WSMsgType.PONG:
                self._taken += _MESSAGE_COST
                return message
            self._taken += _PING_COST
            if self._bucket.take(time.monotonic()):
                self._over_rate = 0
                if message.type is WSMsgType.PING:
                    await self._pong(message.data)
                continue
            self._over_rate += 1
            if self._over_rate > _WARNED_MESSAGES:
                self.end(_CLOSE_RATE, "too many pings")
                return None

    async def _pong(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() > self._limits.unsent_bytes:
            await self._drained()
        if not self.transport.is_closing() and not self._socket.closed:
            await self._socket.pong(data)

    async def _close(self, code: int, reason: str) -> None:
        """Says why, waits a moment for the answer, and then ends the connection whatever the client does."""
        if code == _CLOSE_RATE and not self._socket.closed:
            # to look for the answer in the flood would cost others more of their time than it did
            if not self.transport.is_closing():
                self.transport.write(close_frame(code, reason))
                await asyncio.sleep(self._limits.close_s)
            self.transport.abort()
            return
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._socket.close(code=code, message=reason.encode(), drain=False)
        except TimeoutError:
            pass
        finally:
            self.transport.abort()

    def _evict(self) -> None:
        self.end(_CLOSE_STALLED, "did not read")

    async def _handle(self, text: str) -> bool:
        """Answers one message. False: it was the last one."""
        if self.transport.get_write_buffer_size() > self._limits.unsent_bytes:
            await self._drained()
        if not self._bucket.take(time.monotonic()):
            self._over_rate += 1
            if self._over_rate > _WARNED_MESSAGES:
                self.end(_CLOSE_RATE, "too many messages")
                return False
            self._answer(replies.error(protocol.Code.RATE_LIMITED, "too many messages", time.time()))
            return True
        self._over_rate = 0
        command = protocol.parse(text, self._request_limits)
        if isinstance(command, protocol.Subscribe | protocol.Unsubscribe):
            command = self._resubscribe(command) or command
        elif isinstance(command, protocol.Ping):
            self._answer(replies.pong(time.time(), command.id))
        elif isinstance(command, protocol.Auth):
            return self._show(command)
        if not isinstance(command, protocol.Refusal):
            self._bad_in_a_row = 0
            return True
        self._answer(replies.error(command.code, command.message, time.time(), command.id))
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= self._limits.bad_messages:
            self.end(_CLOSE_BAD_MESSAGES, f"{self._bad_in_a_row} bad messages in a row")
            return False
        return True

    def _resubscribe(self, command: protocol.Subscribe | protocol.Unsubscribe) -> protocol.Refusal | None:
        after = protocol.subscriptions_after(self.client.topics.patterns, command, self._request_limits)
        if isinstance(after, protocol.Refusal):
            return after
        grant = self._grant
        may = grant.topics if isinstance(grant, Grant) else EVERYTHING
        topics = topics_of(frozenset(after), may)
        if isinstance(command, protocol.Subscribe):
            hidden = sorted(set(command.types) - topics.patterns)
            if hidden:
                text = f"not for these credentials: {', '.join(hidden)}"
                return protocol.Refusal(protocol.Code.INVALID_SUBSCRIPTION, text[:500], command.id)
        kind: Literal["subscribe", "unsubscribe"] = (
            "subscribe" if isinstance(command, protocol.Subscribe) else "unsubscribe"
        )
        self._hub.bring_up_to_date(self.client)  # what it wanted until now comes before the answer, nothing of it after
        self._answer(replies.subscriptions_reply(kind, topics.patterns, time.time(), command.id))
        self._hub.resubscribe(self.client, topics)
        return None

    def _show(self, command: protocol.Auth) -> bool:
        """A new token, before the old one expires. False: it is not one, and the connection ends."""
        grant = self._access.check(command.token)
        if isinstance(grant, Denied):
            self.end(_CLOSE_REFUSED, "refused")
            return False
        self._bad_in_a_row = 0
        self._take(grant)
        self._answer(replies.authenticated(grant.expires_at_s, time.time(), command.id))
        self._hub.resubscribe(self.client, topics_of(self.client.topics.patterns, grant.topics))
        return True

    def _answer(self, json: bytes) -> None:
        if not self.transport.is_closing() and not self._socket.closed:
            self.transport.write(WEBSOCKET.message("", json))

    async def _drained(self) -> None:
        # the transport's own wake-up is private to aiohttp; a TLS transport that is closing may not be asked for more
        unsent_bytes = self._limits.unsent_bytes
        while not self.transport.is_closing() and self.transport.get_write_buffer_size() > unsent_bytes:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)
