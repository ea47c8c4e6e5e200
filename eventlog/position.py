"""A place in a journal."""

from dataclasses import dataclass

__all__ = ["Position"]


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to and including `seq` of the journal `epoch` has been seen.

    The epoch tells journals apart. Without it, a client that saw event 500 of a journal that was lost in a crash would
    ask the new one, which has reached 700, for what came after 500: it would miss the first 500 events of the new
    journal and never know.
    """

    epoch: str
    """Name of the journal. Empty: none in particular, which only seq 0 may go with."""
    seq: int
    """Number of the last event seen. 0: none yet."""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"
