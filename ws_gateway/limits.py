"""How much one client, one address and all together may do. Pure: time is an argument."""

from collections import Counter
from enum import Enum, auto

__all__ = ["Admission", "Full", "TokenBucket"]


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
