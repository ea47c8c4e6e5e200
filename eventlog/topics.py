"""Names of event types, and sets of names and patterns that somebody is interested in."""

import re
from collections.abc import Iterable

__all__ = ["EVERYTHING", "MAX_TYPE_LENGTH", "Topics", "is_pattern", "is_type"]

MAX_TYPE_LENGTH = 128
"""Longest type name or pattern, characters: a name is repeated in every event and kept for every subscription."""

_TYPE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
_REMEMBERED = 4096


def is_type(name: str) -> bool:
    """Whether `name` can be an event's type: dotted lower-case words, at most MAX_TYPE_LENGTH characters."""
    return len(name) <= MAX_TYPE_LENGTH and _TYPE.fullmatch(name) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` can be subscribed to: a type, `*`, or a type followed by `.*` (everything below it)."""
    return text == "*" or (len(text) <= MAX_TYPE_LENGTH and is_type(text.removesuffix(".*")))


class Topics:
    """An immutable set of types and patterns. Equal sets are equal and hash alike, so they can share work."""

    __slots__ = ("__weakref__", "_everything", "_exact", "_known", "_prefixes", "patterns", "within")

    def __init__(self, patterns: Iterable[str], *, within: "Topics | None" = None) -> None:
        """`within`: whatever the patterns say, nothing that this does not match. None: no such bound.
        ValueError: one of `patterns` is neither a type nor a pattern."""
        self.patterns: frozenset[str] = frozenset(patterns)
        self.within = within
        for pattern in self.patterns:
            if not is_pattern(pattern):
                raise ValueError(f"{pattern!r} is not an event type or pattern")
        self._everything = "*" in self.patterns and within is None
        self._prefixes = tuple(pattern[:-1] for pattern in self.patterns if pattern.endswith(".*"))
        self._exact = frozenset(pattern for pattern in self.patterns if not pattern.endswith("*"))
        self._known: dict[str, bool] = {}

    def matches(self, event_type: str) -> bool:
        """Whether an event of this type is wanted."""
        if self._everything:
            return True
        known = self._known.get(event_type)
        if known is None:
            known = "*" in self.patterns or event_type in self._exact or event_type.startswith(self._prefixes)
            if self.within is not None:
                known = known and self.within.matches(event_type)
            if len(self._known) < _REMEMBERED:
                self._known[event_type] = known
        return known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topics) and self.patterns == other.patterns and self.within == other.within

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Topics({sorted(self.patterns)})"


EVERYTHING = Topics(["*"])
"""Every type there is."""
