"""The journal that every part of the system reads with a cursor, and the names that its events go by.

Pure: standard library only, no clock, no loop, no I/O.
"""

from eventlog.journal import Entry, Gap, Journal, Replay
from eventlog.position import Position
from eventlog.topics import EVERYTHING, MAX_TYPE_LENGTH, Topics, is_pattern, is_type

__all__ = [
    "EVERYTHING",
    "MAX_TYPE_LENGTH",
    "Entry",
    "Gap",
    "Journal",
    "Position",
    "Replay",
    "Topics",
    "is_pattern",
    "is_type",
]
