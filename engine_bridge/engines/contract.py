"""What the bridge wants of an engine, whatever it speaks."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from engine_events.v1 import events_pb2

__all__ = ["OVERTIME_S", "Engine", "Pushed"]

OVERTIME_S: Final = 0.25
"""An adapter that has not kept a call's time limit so much later is cancelled. Not at the limit: a call of grpc.aio
that is cancelled leaves a kilobyte behind for ever (grpc/grpc#43360), one that ends at its own deadline does not."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One message of an engine's event stream. With no events it only says that the stream is alive."""

    events: Sequence[events_pb2.Event] = ()
    position: events_pb2.Position | None = None
    """The engine's own position after these events. None: this engine cannot resume."""
    lost: int = 0
    """Log events that the engine no longer had."""
    rejected: int = 0
    """Messages that could not be read at all."""


class Engine(Protocol):
    """An engine. Every method raises the errors of engine_bridge.errors, and none but those; those that are
    given a time limit keep it."""

    topics: Sequence[str]
    """The topics that `fetch` knows."""
    pushes: bool
    """Whether there is a stream of events to `watch`."""

    async def fetch(self, topic: str, timeout_s: float) -> list[events_pb2.Event]:
        """Every state of a topic as the engine has it now: events with type, key and payload. TimedOut: not in time."""
        ...

    def watch(self, after: events_pb2.Position | None) -> AsyncIterator[Pushed]:
        """What the engine pushes by itself, after a position of its own (None: from now on)."""
        ...

    async def is_healthy(self, timeout_s: float) -> bool:
        """One cheap question. An engine that answers in time is healthy, unless it says that it is not serving."""
        ...

    async def close(self) -> None: ...
