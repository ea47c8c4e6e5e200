"""What one client received, with the time of each message, and waiting for more. Knows nothing of sockets."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["MALFORMED", "Closed", "Message", "Received", "Record", "parse"]

Message = dict[str, Any]

MALFORMED = "malformed"
"""Key of the stand-in message for what is not one strict JSON object; its value is the text received."""


class Received(NamedTuple):
    """One message and when it came."""

    received_s: float
    """time.monotonic()"""
    message: Message


class Closed(NamedTuple):
    """How a connection ended."""

    code: int
    """The close code; 1006: no close frame came."""
    reason: str
    at_s: float
    """time.monotonic()"""


def parse(text: str) -> Message:
    """A message from its text, as strict as a browser and more: NaN, duplicate keys and non-objects are malformed."""
    try:
        message = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError):
        return {MALFORMED: text}
    return message if isinstance(message, dict) else {MALFORMED: text}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> Message:
    message = dict(pairs)
    if len(message) != len(pairs):
        raise ValueError("duplicate keys")
    return message


class Record:
    """A growing history. `history` may be read at any time; nothing is ever taken out of it."""

    def __init__(self) -> None:
        self.history: list[Received] = []
        self.closed: Closed | None = None
        self._changed = asyncio.Event()

    def append(self, message: Message) -> None:
        """Adds a message received now."""
        self.history.append(Received(time.monotonic(), message))
        self._wake()

    def reopen(self) -> None:
        """Another connection goes on with this history."""
        self.closed = None

    def close(self, code: int, reason: str) -> None:
        """The connection ended now; a second end of the same connection changes nothing."""
        if self.closed is None:
            self.closed = Closed(code, reason, time.monotonic())
            self._wake()

    def mark(self) -> int:
        """Where the history ends now, for `since`."""
        return len(self.history)

    def of_type(self, message_type: str, *, since: int = 0) -> list[Message]:
        """The messages of one type, from index `since` on."""
        return [entry.message for entry in self.history[since:] if entry.message.get("type") == message_type]

    async def wait_for(
        self, wanted: str | Callable[[Message], bool], *, within_s: float = 5.0, since: int = 0
    ) -> Received:
        """The first message from index `since` on that is wanted (a type, or a predicate), received already or to come.

        AssertionError: it did not come in time, or the connection ended before it came.
        """
        is_wanted = (lambda message: message.get("type") == wanted) if isinstance(wanted, str) else wanted
        index = since
        deadline_s = time.monotonic() + within_s
        while True:
            for entry in self.history[index:]:
                if is_wanted(entry.message):
                    return entry
            index = len(self.history)
            if self.closed is not None:
                raise AssertionError(
                    f"the connection ended ({self.closed}) before the message wanted{self._tail(since)}"
                )
            if not await self._changed_before(deadline_s):
                raise AssertionError(f"the message wanted did not come within {within_s} s{self._tail(since)}")

    async def wait_closed(self, *, within_s: float = 5.0) -> Closed:
        """How the connection ended. AssertionError: it is still open after that time."""
        deadline_s = time.monotonic() + within_s
        while self.closed is None:
            if not await self._changed_before(deadline_s) and self.closed is None:
                raise AssertionError(f"the connection is still open after {within_s} s{self._tail(0)}")
        return self.closed

    async def _changed_before(self, deadline_s: float) -> bool:
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()  # those who waited hold the old one

    def _tail(self, since: int) -> str:
        lines = [json.dumps(entry.message)[:300] for entry in self.history[since:][-8:]]
        return "".join(f"\n  {line}" for line in [f"{len(self.history) - since} messages came; the last:", *lines])
