"""`GET /api/v1/events`: the same stream as Server-Sent Events."""

import asyncio
import secrets
import time

from aiohttp import HttpVersion11, web

from eventlog import Position
from ws_gateway import protocol
from ws_gateway.access import OPEN, Access, require
from ws_gateway.credentials import Grant
from ws_gateway.door import Door
from ws_gateway.gate import ADDRESS
from ws_gateway.hub import Hub
from ws_gateway.limits import Admission
from ws_gateway.session import refuse, topics_of
from ws_gateway.subscriber import Subscriber
from ws_gateway.wire import SSE

__all__ = ["EventStreams"]

_LOOK_S = 30.0
"""The wall clock, which a token's end is on, may be stepped: it is looked at again at least this often."""


class EventStreams:
    """All event streams of one gateway."""

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        *,
        request_limits: protocol.Limits = protocol.DEFAULT_LIMITS,
        access: Access = OPEN,
    ) -> None:
        self._request_limits = request_limits
        self._hub = hub
        self._access = access
        self._admission = admission
        self._open: dict[Subscriber, asyncio.Future[None]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers until the client goes. The position comes as Last-Event-ID, or as epoch and seq."""
        if request.version < HttpVersion11:
            raise web.HTTPVersionNotSupported(text="event streams need HTTP/1.1\n")
        query = protocol.parse_query(request.query.items(), self._request_limits)
        if isinstance(query, protocol.Refusal):
            raise web.HTTPBadRequest(text=f"{query.code}: {query.message}\n")
        last_event_id = request.headers.get("Last-Event-ID")
        resume = protocol.parse_last_event_id(last_event_id) if last_event_id else query.resume
        grant = require(self._access.of(request))
        address = request.get(ADDRESS, request.remote or "")
        refuse(self._admission.enter(address, is_narrow=Door.is_narrow(request.transport)))
        try:
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",  # nginx would hold events back
                }
            )
            try:
                await response.prepare(request)
            except ConnectionError:
                return response  # it went away while it waited
            transport = request.transport
            if transport is None:
                return response
            await self._serve(grant, transport, address, query, resume)
            return response
        finally:
            self._admission.leave(address)

    async def close_all(self) -> None:
        """Ends every stream; EventSource comes back by itself, with its position."""
        for client, ended in list(self._open.items()):
            self._hub.leave(client)
            if client.transport.is_closing() or client.transport.get_write_buffer_size():
                client.transport.abort()  # it would have to read first
            elif not ended.done():
                ended.set_result(None)

    async def _serve(
        self,
        grant: Grant,
        transport: asyncio.Transport,
        address: str,
        query: protocol.Query,
        resume: Position | None,
    ) -> None:
        await self._hub.reach(resume)
        topics = topics_of(frozenset(query.types or protocol.DEFAULT_TYPES), grant.topics)
        client = Subscriber(secrets.token_hex(8), address, transport, SSE, topics, transport.abort)
        ended = self._open[client] = asyncio.get_running_loop().create_future()
        self._hub.join(client, resume=resume, snapshot=query.snapshot)
        try:
            # Nothing more comes from the client; aiohttp cancels this handler when the connection is gone.
            while not ended.done() and (grant.expires_at_s is None or grant.expires_at_s > time.time()):
                left_s = None if grant.expires_at_s is None else min(_LOOK_S, grant.expires_at_s - time.time())
                await asyncio.wait([ended], timeout=left_s)
        finally:
            self._hub.leave(client)
            del self._open[client]
