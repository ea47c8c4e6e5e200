"""The compacted journal: the latest event of every state key and the last log events, in the order of their numbers.

One question, `since`, serves snapshots, live delivery, resuming, slow readers and serving while upstream is down.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from eventlog.position import Position
from eventlog.topics import EVERYTHING, Topics

__all__ = ["Entry", "Gap", "Journal", "Replay"]

T = TypeVar("T")

_COMPACT_AT_LEAST = 256
_COUNTED_SEQS = 1 << 20
"""For how many of the latest numbers the journal remembers what they were, two bytes each: within them the counts of
what is gone are exact, before them they are upper bounds."""
_COUNTED_TYPES = 32_767
_MAX_HOLES = 64
_STATE, _LOG = 0, 1


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One event in the journal."""

    seq: int
    type: str
    key: str
    """Which state it replaces. Empty: a log event."""
    body: T
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Replay(Generic[T]):
    """Everything after the position asked for, nothing lost."""

    entries: list[Entry[T]]
    """In the order of their numbers."""
    superseded: int
    """State events that were replaced by later ones, and are therefore not among the entries."""
    through_seq: int
    """The position after these entries: ask from here next."""


@dataclass(frozen=True, slots=True)
class Gap(Generic[T]):
    """Events after the position asked for are gone; `entries` is what is still there."""

    entries: list[Entry[T]]
    superseded: int
    through_seq: int
    lost: int
    """How many are gone: log events past the journal's bounds, or states that there was no room for."""
    from_seq: int
    """They lay after this number."""
    to_seq: int
    """They lay at or before this number."""


class Journal(Generic[T]):
    """A bounded, compacted log. Appending and reading take amortised constant time for each event.

    Over its bounds the oldest log events go first; states go, the longest unchanged first, only when there are more
    than `max_states` or when they alone exceed `max_bytes`. Whoever asks for a time before is told, by a Gap.
    """

    def __init__(self, epoch: str, *, max_log_events: int, max_bytes: int, max_states: int = 10_000) -> None:
        self.epoch = epoch
        self.max_log_events = max_log_events
        self.max_bytes = max_bytes
        self.max_states = max_states
        self.size_bytes = 0
        self.evicted_logs = 0
        self.evicted_states = 0
        self._head = 0
        # Two parallel lists in the order of the numbers; an entry that was superseded or evicted is None until the
        # lists are compacted, which happens when more than half of them is dead.
        self._seqs: list[int] = []
        self._entries: list[Entry[T] | None] = []
        self._dead = 0
        self._states: OrderedDict[tuple[str, str], Entry[T]] = OrderedDict()
        self._logs: deque[Entry[T]] = deque()
        # What each of the latest numbers was: kinds[i] belongs to number kinds_base + 1 + i. Kind 2k and 2k + 1 are the
        # states and the logs of type k; type 0 stands for types that are not known.
        self._kinds = array("H")
        self._kinds_base = 0
        self._type_numbers: dict[str, int] = {}
        # Log events that were lost before they reached this journal: (after, up to, how many).
        self._holes: list[tuple[int, int, int]] = []

    @property
    def position(self) -> Position:
        """The last number given out, 0 before the first."""
        return Position(self.epoch, self._head)

    @property
    def head(self) -> int:
        return self._head

    @property
    def oldest_log_seq(self) -> int:
        """The number of the oldest log event that is still here, 0 if none is."""
        return self._logs[0].seq if self._logs else 0

    def __len__(self) -> int:
        return len(self._states) + len(self._logs)

    def holds(self, position: Position) -> bool:
        """Whether `since` can answer for this position: it is of this epoch and not ahead of it.

        The start (seq 0) with an empty epoch is a position of every journal.
        """
        if position.seq == 0 and position.epoch == "":
            return True
        return position.epoch == self.epoch and position.seq <= self._head

    def append(self, type: str, key: str, body: T, size_bytes: int, *, seq: int | None = None) -> Entry[T]:
        """Adds an event; with a key it replaces the one before it of the same type and key.

        `seq` None: the next number. A journal that copies another gives the other's number: higher than the head
        (ValueError), and whatever lies between was superseded before it could be copied.
        """
        if seq is None:
            seq = self._head + 1
        elif seq <= self._head:
            raise ValueError(f"number {seq} is not after {self._head}")
        elif seq > self._head + 1:
            self.skip(seq - 1)
        entry = Entry(seq, type, key, body, size_bytes)
        self._head = seq
        self._seqs.append(seq)
        self._entries.append(entry)
        self.size_bytes += size_bytes
        if key:
            self._remember_kind(type, _STATE)
            before = self._states.pop((type, key), None)
            self._states[type, key] = entry
            if before is not None:
                self._drop(before)
        else:
            self._remember_kind(type, _LOG)
            self._logs.append(entry)
        self._evict(entry)
        if self._dead > _COMPACT_AT_LEAST and self._dead * 2 > len(self._entries):
            self._compact()
        return entry

    def skip(self, through_seq: int) -> None:
        """Moves the head up to `through_seq` without an event: what lies between was superseded before it came here.
        A number at or below the head changes nothing."""
        count = through_seq - self._head
        if count <= 0:
            return
        if count > _COUNTED_SEQS:
            self._kinds = array("H")
            self._kinds_base = through_seq
        else:
            self._kinds.frombytes(bytes(2 * count))
            self._forget_kinds()
        self._head = through_seq

    def lose(self, after_seq: int, to_seq: int, lost: int) -> None:
        """Notes that `lost` events in (after_seq, to_seq] were gone before they could come here."""
        self._holes.append((after_seq, to_seq, lost))
        if len(self._holes) > _MAX_HOLES:
            (first, _, one), (_, second, other) = self._holes[:2]
            self._holes[:2] = [(first, second, one + other)]

    def since(self, after_seq: int, topics: Topics = EVERYTHING, *, max_bytes: int | None = None) -> Replay[T] | Gap[T]:
        """The events after `after_seq` that `topics` wants, or a Gap where some of them are gone.

        `max_bytes` stops the answer once it is that large (it holds at least one entry); go on from `through_seq`.
        """
        if after_seq >= self._head:
            return Replay([], 0, self._head)
        first = bisect_right(self._seqs, after_seq)
        through = self._head
        matches = topics.matches
        present = 0
        entries: list[Entry[T]] = []
        size_bytes = 0
        for entry in self._entries[first:] if max_bytes is None else _from(self._entries, first):
            if entry is None:
                continue
            present += 1
            if matches(entry.type):
                entries.append(entry)
                size_bytes += entry.size_bytes
                if max_bytes is not None and size_bytes >= max_bytes:
                    through = entry.seq
                    break
        if present == through - after_seq:
            return Replay(entries, 0, through)
        superseded, lost, to_seq = self._missing(after_seq, through, topics, entries)
        if lost:
            return Gap(entries, superseded, through, lost, after_seq, to_seq)
        return Replay(entries, superseded, through)

    def states(self, topics: Topics = EVERYTHING) -> list[Entry[T]]:
        """The latest event of each state that `topics` wants, in the order of their numbers."""
        return [entry for (type_, _), entry in self._states.items() if topics.matches(type_)]

    def state(self, type: str, key: str) -> Entry[T] | None:
        """The latest event of one state; None: there is none."""
        return self._states.get((type, key))

    def _missing(
        self, after_seq: int, through_seq: int, topics: Topics, entries: list[Entry[T]]
    ) -> tuple[int, int, int]:
        """How many wanted states were superseded and how many logs are gone in (after, through], and where the last
        of the lost can lie."""
        counted = self._kinds[max(0, after_seq - self._kinds_base) : max(0, through_seq - self._kinds_base)]
        superseded = max(0, min(self._kinds_base, through_seq) - after_seq) + counted.count(_STATE)
        lost = counted.count(_LOG)
        for type_, number in self._type_numbers.items():
            if topics.matches(type_):
                superseded += counted.count(2 * number + _STATE)
                lost += counted.count(2 * number + _LOG)
        logs_here = sum(1 for entry in entries if not entry.key)
        superseded -= len(entries) - logs_here
        lost -= logs_here
        to_seq = 0
        if lost > 0:
            # logs go oldest first, so the lost ones lie before the first that is here; evicted states lie anywhere
            first_log = next((entry.seq for entry in entries if not entry.key), through_seq + 1)
            to_seq = through_seq if self.evicted_states else first_log - 1
        for hole_after, hole_to, hole_lost in self._holes:
            if after_seq < hole_to and hole_after < through_seq:
                gone = min(hole_lost, hole_to - after_seq)
                lost += gone
                superseded -= gone
                to_seq = max(to_seq, min(hole_to, through_seq))
        return max(0, superseded), max(0, lost), to_seq

    def _remember_kind(self, type_: str, kind: int) -> None:
        number = self._type_numbers.get(type_)
        if number is None:
            number = len(self._type_numbers) + 1 if len(self._type_numbers) < _COUNTED_TYPES else 0
            if number:
                self._type_numbers[type_] = number
        self._kinds.append(2 * number + kind)
        self._forget_kinds()

    def _forget_kinds(self) -> None:
        excess = len(self._kinds) - _COUNTED_SEQS
        if excess > _COUNTED_SEQS:
            del self._kinds[:excess]
            self._kinds_base += excess

    def _evict(self, newest: Entry[T]) -> None:
        while self._logs and (len(self._logs) > self.max_log_events or self.size_bytes > self.max_bytes):
            if self._logs[0] is newest:
                break
            self._drop(self._logs.popleft())
            self.evicted_logs += 1
        while len(self._states) > self.max_states or self.size_bytes > self.max_bytes:
            oldest = next(iter(self._states.values()), newest)
            if oldest is newest:
                break
            del self._states[oldest.type, oldest.key]
            self._drop(oldest)
            self.evicted_states += 1
            # its last value is gone, which no later event makes good: from here on it counts as lost
            index = oldest.seq - self._kinds_base - 1
            if index >= 0:
                self._kinds[index] |= _LOG

    def _drop(self, entry: Entry[T]) -> None:
        self._entries[bisect_right(self._seqs, entry.seq) - 1] = None
        self.size_bytes -= entry.size_bytes
        self._dead += 1

    def _compact(self) -> None:
        live = [entry for entry in self._entries if entry is not None]
        self._entries = list(live)
        self._seqs = [entry.seq for entry in live]
        self._dead = 0


def _from(entries: list[Entry[T] | None], first: int) -> Iterable[Entry[T] | None]:
    for index in range(first, len(entries)):
        yield entries[index]
