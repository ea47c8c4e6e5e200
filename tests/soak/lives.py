"""Clients with a life of their own: each connects, does as it likes for a while, comes back when it was cut off, and in
the end catches up and is judged."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import aiohttp

from tests.kit.client import Recorder, SseRecorder, with_query
from tests.kit.history import DEFAULT_TYPES, Position, data_of, is_notice, position
from tests.kit.programs import Stack
from tests.kit.rawclient import HandshakeRefused, RawClient
from tests.kit.record import Closed, Received
from tests.soak.truth import Truth

__all__ = ["KINDS", "EventStream", "Life", "Staller", "Watcher", "WebSocket"]

_PATTERNS = ["*", "notification", "system.status", "compression.update", "agent.*", "bulk.*", "heartbeat", "rpc_error"]
_RETRY_S = 0.2
_GIVE_UP_S = 60.0
_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError, HandshakeRefused)


class Life(ABC):
    """One client, over all its connections."""

    cuts_itself = False
    """Whether it may be cut for not reading, or cuts the connection itself."""

    def __init__(self, stack: Stack, rng: random.Random, number: int) -> None:
        self.name = f"{type(self).__name__}-{number}"
        self.closes: list[Closed] = []
        """How its connections ended that it did not end itself."""
        self.start: Position | None = None
        self.until: Position | None = None
        """It has received everything up to here."""
        self.complaint: str | None = None
        """It could not connect, or did not catch up."""
        self._stack = stack
        self._rng = rng

    @property
    @abstractmethod
    def history(self) -> Sequence[Received]:
        """All that it received."""

    @property
    @abstractmethod
    def closed(self) -> Closed | None:
        """How the present connection ended."""

    @abstractmethod
    async def connect(self) -> None:
        """For the first time, or again after its position. One of _UNREACHABLE: it could not."""

    @abstractmethod
    async def act(self) -> None:
        """Does something."""

    @abstractmethod
    async def close(self) -> None:
        """Ends. Closing twice is allowed."""

    async def live(self, seconds: float, truth: Truth, over: asyncio.Event) -> None:
        """Until its end, or until all is over. Never raises for what the gateway does."""
        try:
            await self._come()
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s and not over.is_set():
                try:
                    await self.act()
                except _UNREACHABLE:
                    pass  # found below
                await self._come_back_if_cut()
            await self._catch_up(truth)
        except TimeoutError as error:
            self.complaint = str(error)
        finally:
            await self.close()

    @abstractmethod
    async def read_everything(self) -> None:
        """From now on it reads as fast as it can."""

    def patterns(self) -> list[str]:
        """What it is subscribed to now."""
        for _, message in reversed(self.history):
            if is_notice(message) or message.get("type") in ("subscribe", "unsubscribe"):
                return [str(pattern) for pattern in data_of(message).get("subscriptions", [])]
        return []

    async def _come(self) -> None:
        give_up_s = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                await self.connect()
            except _UNREACHABLE as error:
                if time.monotonic() > give_up_s:
                    raise TimeoutError(f"it could not connect for {_GIVE_UP_S:g} s: {error!r}") from error
                await asyncio.sleep(_RETRY_S * self._rng.uniform(0.5, 2))
            else:
                return

    async def _come_back_if_cut(self) -> None:
        if self.closed is not None:
            self.closes.append(self.closed)
            await self._come()

    async def _catch_up(self, truth: Truth) -> None:
        """Waits until it has what it is owed, and is not behind. It has `_GIVE_UP_S` for what it is owed of a journal,
        and nothing is owed to a client that wants nothing."""
        await self.read_everything()
        give_up_s = time.monotonic() + _GIVE_UP_S
        target: Position | None = None
        while True:
            await self._come_back_if_cut()
            at = position(self.history, start=self.start)
            if at is not None:
                if target is None or target.epoch != at.epoch:
                    target = truth.head(at.epoch, self.patterns())
                    if target is not None:
                        give_up_s = time.monotonic() + _GIVE_UP_S
                if target is not None and at.seq >= target.seq:
                    self.until = target
                    return
            if time.monotonic() > give_up_s:
                if target is not None:
                    raise TimeoutError(f"at {at} it did not catch up to {target} in {_GIVE_UP_S:g} s")
                return
            await asyncio.sleep(0.1)  # its history is looked at; whatever it waits for may be of another epoch by then


class WebSocket(Life):
    """A browser that changes its mind, goes and comes back."""

    def __init__(self, stack: Stack, rng: random.Random, number: int) -> None:
        super().__init__(stack, rng, number)
        types = rng.choice([None, ["*"], rng.sample(_PATTERNS, 3)])
        self._recorder = Recorder(stack.ws_url(), types=types, snapshot=rng.choice([None, True, False]))

    @property
    def history(self) -> Sequence[Received]:
        return self._recorder.history

    @property
    def closed(self) -> Closed | None:
        return self._recorder.closed

    async def connect(self) -> None:
        await self._recorder.resume()

    async def read_everything(self) -> None:
        """It always does."""

    async def close(self) -> None:
        await self._recorder.close()

    async def act(self) -> None:
        match self._rng.randrange(6):
            case 0:
                await self._recorder.send({"type": "subscribe", "data": {"types": self._rng.sample(_PATTERNS, 2)}})
            case 1:
                await self._recorder.send({"type": "unsubscribe", "data": {"types": self._rng.sample(_PATTERNS, 2)}})
            case 2:
                await self._recorder.send({"type": "ping"})
            case 3:
                await self._recorder.close()
                await asyncio.sleep(self._rng.uniform(0, 5))
                await self._come()
        await asyncio.sleep(self._rng.uniform(0.2, 2))


class Watcher(WebSocket):
    """Is always there, wants everything and never does anything: what it received the others are held against."""

    def __init__(self, stack: Stack, rng: random.Random, number: int) -> None:
        super().__init__(stack, rng, number)
        self._recorder = Recorder(stack.ws_url(), types=["*"])

    async def act(self) -> None:
        await asyncio.sleep(0.1)


class EventStream(Life):
    """An EventSource: comes back by itself, with the last id."""

    def __init__(self, stack: Stack, rng: random.Random, number: int) -> None:
        super().__init__(stack, rng, number)
        self._types = rng.choice([sorted(DEFAULT_TYPES), ["*"]])
        self._before: list[Received] = []
        self._last_event_id: str | None = None
        self._recorder: SseRecorder | None = None

    @property
    def history(self) -> Sequence[Received]:
        return self._before + (self._recorder.history if self._recorder else [])

    @property
    def closed(self) -> Closed | None:
        return self._recorder.record.closed if self._recorder else None

    async def read_everything(self) -> None:
        """It always does."""

    async def connect(self) -> None:
        await self.close()
        self._recorder = await SseRecorder.connect(
            self._stack.http_url("/api/v1/events"), types=self._types, last_event_id=self._last_event_id
        )

    async def close(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            await recorder.close()
            self._before += recorder.history
            self._last_event_id = recorder.last_event_id or self._last_event_id

    async def act(self) -> None:
        if self._rng.randrange(5) == 0:
            await self.close()
            await asyncio.sleep(self._rng.uniform(0, 5))
            await self._come()
        await asyncio.sleep(self._rng.uniform(0.2, 2))


class Staller(Life):
    """Reads now fast, now slowly, now not at all; is cut now and then, or resets the connection itself."""

    cuts_itself = True

    def __init__(self, stack: Stack, rng: random.Random, number: int) -> None:
        super().__init__(stack, rng, number)
        self._before: list[Received] = []
        self._client: RawClient | None = None

    @property
    def history(self) -> Sequence[Received]:
        return self._before + (self._client.history if self._client else [])

    @property
    def closed(self) -> Closed | None:
        return self._client.closed if self._client else None

    async def connect(self) -> None:
        await self.close()
        at = position(self._before)
        url = with_query(self._stack.ws_url(), types=["*"], epoch=at and at.epoch, seq=at and at.seq)
        self._client = await RawClient.open(url, receive_buffer_bytes=4096)
        self._client.start_reading()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            self._before += client.history

    async def read_everything(self) -> None:
        await self._read(None)

    async def act(self) -> None:
        match self._rng.randrange(5):
            case 0 | 1:
                if self._client is not None:
                    await self._client.stop_reading()
            case 2:
                await self._read(self._rng.uniform(2_000, 50_000))
            case 3:
                if self._client is not None:
                    await self._client.reset()
                await asyncio.sleep(self._rng.uniform(0, 3))
                await self._come()
            case _:
                await self._read(None)
        await asyncio.sleep(self._rng.uniform(1, 5))

    async def _read(self, bytes_per_s: float | None) -> None:
        if self._client is not None and self._client.end is None:
            await self._client.stop_reading()
            self._client.start_reading(bytes_per_s)


KINDS: list[type[Life]] = [WebSocket, WebSocket, EventStream, Staller]
"""Of which clients are made at random."""
