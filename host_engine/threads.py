"""Blocking calls in daemon threads of their own.

An executor's threads are joined when the interpreter ends: one `statvfs` on a dead NFS server would then hold up the
exit for ever. These are not, and their number is bounded.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from host_engine.errors import TooBusy

__all__ = ["Threads"]

T = TypeVar("T")


class Threads:
    """At most `max_count` blocking calls at a time; a call that hangs keeps its place until it returns."""

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._names: set[str] = set()

    def start(self, name: str, call: Callable[[], T]) -> asyncio.Future[T]:
        """Starts `call` in a thread; the future is done when it returns or raises. TooBusy: no room.

        `name` must not be in use (see `is_running`). Giving up the future does not stop the thread.
        """
        if len(self._names) >= self._max_count or name in self._names:
            raise TooBusy("too many calls are waiting for the disk; try again later")
        self._names.add(name)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # a result that nobody waits for any more must not be reported as an exception that was never retrieved
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def ended(result: T | None, error: BaseException | None) -> None:
            self._names.discard(name)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only if T allows it

        def body() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - it is handed to whoever waits for the future
                error = raised
            try:
                loop.call_soon_threadsafe(ended, result, error)
            except RuntimeError:
                pass  # the loop has ended: nobody waits

        threading.Thread(target=copy_context().run, args=(body,), name=name, daemon=True).start()
        return future

    def is_running(self, name: str) -> bool:
        """Whether the call of this name has not returned yet."""
        return name in self._names

    async def run(self, name: str, call: Callable[[], T]) -> T:
        """`start`, waited for."""
        return await self.start(name, call)
