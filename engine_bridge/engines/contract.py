"""What the bridge wants of an engine, whatever it speaks."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine_events.v1 import events_pb2

__all__ = ["Engine", "Pushed"]


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
    """An engine. Every method raises the errors of engine_bridge.errors, and none but those."""

    topics: Sequence[str]
    """The topics that `fetch` knows."""
    pushes: bool
    """Whether there is a stream of events to `watch`."""

    async def fetch(self, topic: str, timeout_s: float) -> list[events_pb2.Event]:
        """Every state of a topic as the engine has it now: events with type, key and payload."""
        ...

    def watch(self, after: events_pb2.Position | None) -> AsyncIterator[Pushed]:
        """What the engine pushes by itself, after a position of its own (None: from now on)."""
        ...

    async def is_healthy(self, timeout_s: float) -> bool:
        """One cheap question. An engine that answers at all is healthy, unless it says that it is not serving."""
        ...

    async def close(self) -> None: ...
