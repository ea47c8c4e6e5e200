"""What was published, as far as anybody saw it: each client's history is held against what all the others received.

Pure. Keeps what is young enough for a client that lives now to be owed it.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence

from tests.kit.history import Entry, History, Message, Position, StateKey, data_of, is_live, is_notice, matches
from tests.kit.history import state_key as state_key_of
from tests.soak.engine import LARGE

__all__ = ["Truth", "state_key"]


def state_key(message: Message) -> StateKey | None:
    """As that of the kit, and knows the large state of the soak's engine."""
    return (LARGE, "bulk") if message.get("type") == LARGE else state_key_of(message)


class Truth:
    """The union of all histories, of the last `keep_s`."""

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._events: dict[str, dict[int, Message]] = {}
        self._order: deque[tuple[float, str, int]] = deque()
        self._read: dict[Hashable, tuple[int, str]] = {}
        self.count = 0
        """Events seen in all, each once."""

    def take(self, who: Hashable, history: History) -> None:
        """Adds what is new in the history of a client; histories only grow."""
        index, epoch = self._read.get(who, (0, ""))
        for received_s, message in history[index:]:
            if is_notice(message):
                epoch = str(data_of(message).get("epoch"))
            elif is_live(message):
                events = self._events.setdefault(epoch, {})
                if message["seq"] not in events:
                    events[message["seq"]] = message
                    self._order.append((received_s, epoch, message["seq"]))
                    self.count += 1
        self._read[who] = (len(history), epoch)

    def forget(self, who: Hashable) -> None:
        """The client is no more."""
        self._read.pop(who, None)

    def expire(self) -> None:
        """Drops what is too old to matter to anybody."""
        until_s = self._clock() - self._keep_s
        while self._order and self._order[0][0] < until_s:
            _, epoch, seq = self._order.popleft()
            del self._events[epoch][seq]
            if not self._events[epoch]:
                del self._events[epoch]

    def head(self, epoch: str, patterns: Sequence[str]) -> Position | None:
        """The last event of these types in an epoch."""
        seqs = [seq for seq, message in self._events.get(epoch, {}).items() if matches(patterns, str(message["type"]))]
        return Position(epoch, max(seqs)) if seqs else None

    def history(self) -> list[Entry]:
        """As the history of one client that was always there."""
        history: list[Entry] = []
        for epoch, events in self._events.items():
            notice = {"type": "notification", "data": {"epoch": epoch, "seq": 0, "resume": {}, "client_id": "all"}}
            history.append((0.0, notice))
            history += [(0.0, events[seq]) for seq in sorted(events)]
        return history
