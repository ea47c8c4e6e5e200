"""Consumers that behave: a WebSocket and a Server-Sent-Events client that record everything, and plain HTTP GET."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import aiohttp

from tests.kit import stream
from tests.kit.netns import socket_in
from tests.kit.record import Closed, Message, Received, Record, parse

__all__ = ["HttpAnswer", "Recorder", "SseEvent", "SseRecorder", "get", "with_query"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a test wants to see what came, however large


class HttpAnswer(NamedTuple):
    """The answer to one GET."""

    status: int
    text: str
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


async def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    namespace: str | None = None,
    tls: ssl.SSLContext | None = None,
    within_s: float = 5.0,
) -> HttpAnswer:
    """One GET, redirects not followed. aiohttp.ClientError, TimeoutError: no answer."""
    async with (
        _session(namespace) as session,
        session.get(
            url,
            headers=headers,
            ssl=tls or True,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=within_s),
        ) as response,
    ):
        return HttpAnswer(response.status, await response.text(), dict(response.headers))


def with_query(
    url: str,
    *,
    epoch: str | None = None,
    seq: int | None = None,
    types: Iterable[str] | None = None,
    snapshot: bool | None = None,
    **more: str,
) -> str:
    """The URL of /ws or /api/v1/events with the query that PROTOCOL gives it; None leaves a parameter out."""
    query = dict(more)
    if epoch is not None:
        query["epoch"] = epoch
    if seq is not None:
        query["seq"] = str(seq)
    if types is not None:
        query["types"] = ",".join(types)
    if snapshot is not None:
        query["snapshot"] = "1" if snapshot else "0"
    if not query:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query, safe=',*')}"


class Recorder:
    """A WebSocket client that reads as fast as it can and records every message with the time it came.

    Make it with `connect`; an async context manager that closes. `history` goes on over `resume`.
    """

    def __init__(
        self,
        url: str,
        *,
        types: Iterable[str] | None = None,
        snapshot: bool | None = None,
        headers: Mapping[str, str] | None = None,
        namespace: str | None = None,
        tls: ssl.SSLContext | None = None,
        subprotocols: Iterable[str] = (),
    ) -> None:
        self.record = Record()
        self.url = url
        self._types = None if types is None else list(types)
        self._snapshot = snapshot
        self._headers = headers
        self._namespace = namespace
        self._tls = tls
        self._subprotocols = tuple(subprotocols)
        self._start: stream.Position | None = None
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_closing = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        epoch: str | None = None,
        seq: int | None = None,
        types: Iterable[str] | None = None,
        snapshot: bool | None = None,
        headers: Mapping[str, str] | None = None,
        namespace: str | None = None,
        tls: ssl.SSLContext | None = None,
        subprotocols: Iterable[str] = (),
        within_s: float = 5.0,
    ) -> Self:
        """Connects. `types` None: the server's default subscriptions. `namespace`: connect from that network namespace.

        aiohttp.WSServerHandshakeError (has `.status`): refused before the upgrade. OSError, TimeoutError: no answer.
        """
        client = cls(
            url,
            types=types,
            snapshot=snapshot,
            headers=headers,
            namespace=namespace,
            tls=tls,
            subprotocols=subprotocols,
        )
        await client._open(epoch, seq, within_s)
        return client

    @property
    def history(self) -> list[Received]:
        """Everything received so far, over all connections of this client."""
        return self.record.history

    @property
    def closed(self) -> Closed | None:
        """How the present connection ended; None: it is open."""
        return self.record.closed

    @property
    def position(self) -> stream.Position | None:
        """Resume after this; None: nothing received yet."""
        return stream.position(self.history, start=self._start)

    @property
    def welcome(self) -> Message:
        """Data of the last welcome. AssertionError: none came yet."""
        for entry in reversed(self.history):
            if stream.is_notice(entry.message):
                data: Message = entry.message["data"]
                return data
        raise AssertionError("no welcome came")

    def mark(self) -> int:
        """Where the history ends now, for `since`."""
        return self.record.mark()

    def of_type(self, message_type: str, *, since: int = 0) -> list[Message]:
        """The messages of one type, from index `since` on."""
        return self.record.of_type(message_type, since=since)

    async def send(self, message: Message | str | bytes) -> None:
        """Sends an object as JSON, a text as it is, bytes as a binary frame."""
        assert self._socket is not None
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def wait_for(
        self, wanted: str | Callable[[Message], bool], *, within_s: float = 5.0, since: int = 0
    ) -> Received:
        """See Record.wait_for."""
        return await self.record.wait_for(wanted, within_s=within_s, since=since)

    async def ask(self, message: Message, wanted: str | Callable[[Message], bool], *, within_s: float = 5.0) -> Message:
        """Sends and gives the first message wanted that comes after it."""
        since = self.mark()
        await self.send(message)
        return (await self.wait_for(wanted, within_s=within_s, since=since)).message

    async def wait_closed(self, *, within_s: float = 5.0) -> Closed:
        """See Record.wait_closed."""
        return await self.record.wait_closed(within_s=within_s)

    async def resume(self, url: str | None = None, *, within_s: float = 5.0) -> None:
        """Connects again, to the same URL or another, after `position`; ends the present connection first."""
        await self.close()
        position = self.position  # something more may have come until it was closed
        if url is not None:
            self.url = url
        self.record.reopen()
        await self._open(position and position.epoch, position and position.seq, within_s)

    async def close(self, code: int = 1000) -> Closed | None:
        """Closes, politely if the server still reads; gives how the connection ended. Closing twice is allowed."""
        if self._socket is not None:
            self._is_closing = True
            await self._socket.close(code=code)
            self.record.close(self._socket.close_code or 1006, "")
        if self._reader is not None:
            await self._reader
        if self._session is not None:
            await self._session.close()
        self._socket = self._reader = self._session = None
        return self.record.closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self, epoch: str | None, seq: int | None, within_s: float) -> None:
        if epoch is not None and seq is not None and self._start is None:
            self._start = stream.Position(epoch, seq)
        url = with_query(self.url, epoch=epoch, seq=seq, types=self._types, snapshot=self._snapshot)
        self._session = _session(self._namespace)
        self._is_closing = False
        try:
            async with asyncio.timeout(within_s):
                self._socket = await self._session.ws_connect(
                    url,
                    headers=self._headers,
                    ssl=self._tls or True,
                    protocols=self._subprotocols,
                    max_msg_size=_MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except BaseException:
            await self._session.close()
            self._session = None
            raise
        self._reader = asyncio.create_task(self._read(self._socket), name=f"recorder of {url}")

    async def _read(self, websocket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        reason = ""
        try:
            while True:
                message = await websocket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.record.append(parse(message.data))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self.record.append(parse(repr(message.data)))
                else:
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        reason = message.extra or ""
                    break
        finally:
            if not self._is_closing or reason:  # how our own close ends, `close` records
                self.record.close(websocket.close_code or 1006, reason)


class SseEvent(NamedTuple):
    """One Server-Sent Event."""

    received_s: float
    """time.monotonic()"""
    id: str | None
    event: str | None
    data: str


class SseRecorder:
    """A client of /api/v1/events that records every event. `history` holds their data, like a Recorder's."""

    def __init__(self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        self.record = Record()
        self.events: list[SseEvent] = []
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        self.headers: Mapping[str, str] = dict(response.headers)
        self._session = session
        self._response = response
        self._reader = asyncio.create_task(self._read(), name=f"recorder of {response.url}")

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        last_event_id: str | None = None,
        types: Iterable[str] | None = None,
        headers: Mapping[str, str] | None = None,
        namespace: str | None = None,
        within_s: float = 5.0,
    ) -> Self:
        """Connects. aiohttp.ClientResponseError (has `.status`): refused. OSError, TimeoutError: no answer."""
        session = _session(namespace)
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        try:
            async with asyncio.timeout(within_s):
                response = await session.get(
                    with_query(url, types=types), headers=headers, timeout=aiohttp.ClientTimeout(total=None)
                )
            response.raise_for_status()
        except BaseException:
            await session.close()
            raise
        return cls(session, response)

    @property
    def history(self) -> list[Received]:
        """The data of every event received so far."""
        return self.record.history

    @property
    def last_event_id(self) -> str | None:
        """The last id that came, for `connect`."""
        return next((event.id for event in reversed(self.events) if event.id is not None), None)

    async def wait_for(
        self, wanted: str | Callable[[Message], bool], *, within_s: float = 5.0, since: int = 0
    ) -> Received:
        """See Record.wait_for."""
        return await self.record.wait_for(wanted, within_s=within_s, since=since)

    async def wait_closed(self, *, within_s: float = 5.0) -> Closed:
        """See Record.wait_closed; the code is 1000 if the response ended as HTTP has it, 1006 if it was cut."""
        return await self.record.wait_closed(within_s=within_s)

    async def close(self) -> None:
        """Hangs up. Closing twice is allowed."""
        self._response.close()
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _read(self) -> None:
        fields: dict[str, list[str]] = {}
        try:
            async for line in self._response.content:
                text = line.decode("utf-8").rstrip("\r\n")
                if text == "":
                    self._dispatch(fields)
                    fields = {}
                elif text.startswith(":"):
                    self.comments.append(text[1:].strip())
                else:
                    name, _, value = text.partition(":")
                    fields.setdefault(name, []).append(value.removeprefix(" "))
        except (aiohttp.ClientError, ConnectionError):
            self.record.close(1006, "")
        self.record.close(1000, "")

    def _dispatch(self, fields: dict[str, list[str]]) -> None:
        if "retry" in fields:
            self.retry_ms = int(fields["retry"][-1])
        if "data" not in fields:
            return
        identity, event = fields.get("id", [None])[-1], fields.get("event", [None])[-1]
        data = "\n".join(fields["data"])
        self.events.append(SseEvent(time.monotonic(), identity, event, data))
        self.record.append(parse(data))


def _session(namespace: str | None) -> aiohttp.ClientSession:
    def factory(info: tuple[Any, ...]) -> socket.socket:
        made = socket_in(namespace, info[0], info[1], info[2])
        made.setblocking(False)
        return made

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=factory, limit=0, force_close=True))
