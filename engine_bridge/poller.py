"""Asks the engine for one topic, on time, one call at a time, from behind the topic's breaker."""

import asyncio
import random

import structlog

from engine_bridge.engines import OVERTIME_S, Engine
from engine_bridge.errors import BadAnswer, CallFailed, MethodMissing, TimedOut
from engine_bridge.source import OFF_S, Source
from engine_bridge.timestamps import timestamp

__all__ = ["poll"]

log = structlog.get_logger()


async def poll(source: Source, engine: Engine, *, interval_s: float, phase: float, call_timeout_s: float) -> None:
    """Runs until it is cancelled.

    The first call is made at once, so that a new bridge knows the engine soon; the others lie on a grid of `interval_s`
    that is shifted by `phase` (0 to 1) of it, so that the topics spread over the interval. A late call delays none
    after it, and a tick that has passed meanwhile is left out.
    """
    start_s = source.clock() + interval_s * phase
    while True:
        await _poll_once(source, engine, call_timeout_s)
        if source.off and not source.is_failing:
            await source.rest(OFF_S)
            continue
        now_s = source.clock()
        next_s = start_s + interval_s * (1 + (now_s - start_s) // interval_s)
        if await source.rest(next_s - now_s):
            # several topics are revived at the same moment
            await asyncio.sleep(random.uniform(0, min(0.1, interval_s / 10)))


async def _poll_once(source: Source, engine: Engine, call_timeout_s: float) -> None:
    ticket = source.guard.admit()
    if ticket is None:
        source.refused()
        return
    asked_at_seq = source.feed.journal.head
    before_s = source.last_success_s or 0
    try:
        async with asyncio.timeout(call_timeout_s + OVERTIME_S):
            listing = await engine.fetch(source.topic, call_timeout_s)
    except MethodMissing:
        source.switch_off(ticket)
    except CallFailed as error:
        source.failed(ticket, error)
    except TimeoutError:
        source.failed(ticket, TimedOut(f"no answer within {call_timeout_s:g} s"))
    except Exception as error:  # the adapter's own mistake must not end the other topics
        log.exception("adapter_failed", topic=source.topic)
        source.failed(ticket, BadAnswer(f"the adapter failed: {type(error).__name__}"))
    except BaseException:
        ticket.abandoned()
        raise
    else:
        source.succeeded(ticket)
        observed_at = timestamp(source.feed.now_s())
        for event in listing:
            event.observed_at.CopyFrom(observed_at)
        source.feed.publish(source.holdings.answered(listing, asked_at_seq=asked_at_seq, last_update_s=before_s))
