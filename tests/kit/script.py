"""How a scripted engine behaves, method by method, changeable at any moment; counts the calls. Knows no protocol."""

import asyncio
from collections import Counter
from typing import Generic, TypeVar

from tests.kit.waiting import until

__all__ = ["HANG", "Hang", "Script"]

B = TypeVar("B")


class Hang:
    """The behaviour of not answering until told otherwise."""

    def __repr__(self) -> str:
        return "HANG"


HANG = Hang()


class Script(Generic[B]):
    """One behaviour for each method; None: the method's normal answer."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Calls that arrived, by method."""
        self.in_flight: Counter[str] = Counter()
        """Calls that are not answered yet, by method."""
        self._behaviours: dict[str, B | Hang] = {}
        self._changed = asyncio.Event()

    def set(self, method: str, behaviour: B | Hang | None) -> None:
        """From now on; calls that hang are answered as it says. None: normally."""
        if behaviour is None:
            self._behaviours.pop(method, None)
        else:
            self._behaviours[method] = behaviour
        self._wake()

    def reset(self) -> None:
        """Every method behaves normally again; counts stay."""
        self._behaviours.clear()
        self._wake()

    def peek(self, method: str) -> B | Hang | None:
        """The behaviour at this moment."""
        return self._behaviours.get(method)

    async def behaviour(self, method: str) -> B | None:
        """The behaviour, as soon as it is not to hang."""
        while isinstance(behaviour := self._behaviours.get(method), Hang):
            await self._changed.wait()
        return behaviour

    @property
    def next_change(self) -> asyncio.Event:
        """Is set when something is set; ask before looking at `peek`, then wait for it."""
        return self._changed

    async def wait_called(self, method: str, count: int = 1, *, within_s: float = 5.0) -> None:
        """Waits until a method was called that many times since the start. AssertionError: not in time."""
        await until(
            lambda: self.calls[method] >= count,
            within_s=within_s,
            what=f"{method} is called {count} times (it was {self.calls[method]} times)",
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()  # those who waited hold the old one
