"""How much one client, one address and all together may do. Pure: time is an argument."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Admission", "ClientLimits", "Full", "TokenBucket"]


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How much one WebSocket client may do, and how long it may take."""

    message_bytes: int = 65_536
    """A command is some hundred bytes, and a token at most 4 KiB."""
    messages_per_s: float = 20
    """Over time: a dashboard sends a few in an hour."""
    messages_burst: int = 100
    """At once: one that subscribes to each of its parts when it begins."""
    bad_messages: int = 10
    """In a row: a program that does not understand the answers."""
    credentials_s: float = 5
    """For a token that does not come with the handshake."""
    unsent_bytes: int = 65_536
    """A client that does not read its answers is not listened to either, until it does."""
    close_s: float = 1
    """For the answer to a close frame, before the connection is cut."""


class TokenBucket:
    """`burst` at once, `rate_per_s` over time."""

    __slots__ = ("_at_s", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether one more is within the limit."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Full(Enum):
    """Why nobody more is let in."""

    EVERYWHERE = auto()
    ADDRESS = auto()


class Admission:
    """Counts clients, in all and by address."""

    def __init__(self, max_clients: int, max_clients_per_address: int) -> None:
        self._max_clients = max_clients
        self._max_clients_per_address = max_clients_per_address
        self._by_address: Counter[str] = Counter()
        self._clients = 0
        self.refused = 0

    def enter(self, address: str, *, is_narrow: bool = False) -> Full | None:
        """None: come in, and `leave` once when you go. `is_narrow`: there is no room for another reason."""
        full = None
        if is_narrow or self._clients >= self._max_clients:
            full = Full.EVERYWHERE
        elif self._by_address[address] >= self._max_clients_per_address:
            full = Full.ADDRESS
        if full is not None:
            self.refused += 1
            return full
        self._clients += 1
        self._by_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        self._clients -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
