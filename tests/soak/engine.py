"""An engine that never rests, as a process of its own: numbered notifications, jobs that advance, one large state.

`python -m tests.soak.engine --listen HOST:PORT --first N`
"""

import argparse
import asyncio
import signal

from engine_events.v1 import events_pb2

from tests.kit.scripted_engine import ScriptedEngine

__all__ = ["LARGE"]

LARGE = "bulk.state"
_EVERY_S = 0.05
_JOBS = 5
_KEPT = 2_000
"""A real engine does not keep all it ever said either."""


def _push(engine: ScriptedEngine, beat: int, number: int) -> int:
    """One event; gives the number of the next notification."""
    match beat % 4:
        case 0 | 2:
            engine.notify(f"n={number}")
            return number + 1
        case 1:
            progress = float(beat // 4 % 101)
            done = progress == 100
            status = events_pb2.JOB_STATUS_COMPLETED if done else events_pb2.JOB_STATUS_RUNNING
            engine.push_job(f"job-{beat // 404 % _JOBS}", progress=progress, status=status)
        case _:
            engine.push_other(LARGE, {"value": beat, "fill": "x" * 4000}, key="bulk")
    return number


async def _serve(listen: str, first: int) -> None:
    host, _, port = listen.rpartition(":")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signalled in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signalled, stop.set)
    async with ScriptedEngine(host, int(port)) as engine:
        beat, number = 0, first
        while not stop.is_set():
            beat += 1
            number = _push(engine, beat, number)
            if len(engine.events) > _KEPT:
                engine.new_epoch()
                engine.requests.clear()
            try:
                async with asyncio.timeout(_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                pass


def main() -> None:
    """Runs until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="An engine that publishes without end.")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    parser.add_argument("--first", type=int, default=1, help="number of the first notification")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.listen, arguments.first))


if __name__ == "__main__":
    main()
