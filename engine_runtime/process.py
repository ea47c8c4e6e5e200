"""The life of a program: from its first line to its exit status."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog

from engine_runtime.memory import give_back_forever, share_one_heap

__all__ = ["StartupError", "run"]

log = structlog.get_logger()


class StartupError(Exception):
    """The program cannot start (a port in use, say). Its text is the one line that the user sees."""


def run(program: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs `serve(stop)` until it returns; SIGINT and SIGTERM set `stop`, and `serve` then ends within 5 s.

    Exit status 0 after a clean stop, 1 with one line on standard error after StartupError.
    """
    share_one_heap()
    try:
        asyncio.run(_until_signalled(serve))
    except StartupError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - the one line that says why it did not start
        raise SystemExit(1) from None


async def _until_signalled(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    # what has been imported stays: no search for garbage need look at it again, which would take 40 ms each time
    gc.collect()
    gc.freeze()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    giving_back = asyncio.create_task(give_back_forever(), name="memory")
    try:
        await serve(stop)
    finally:
        giving_back.cancel()
    log.info("stopped")
