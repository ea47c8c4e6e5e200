"""Watchers get everything once, in order, or are told what they missed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from engine_events.v1 import events_pb2

from eventlog import Position
from host_engine.errors import Stopping, TooManyWatchers
from host_engine.feed import Batch, Feed


def state(key: str, value: int) -> events_pb2.Event:
    return events_pb2.Event(type="a.state", key=key, compression_job=events_pb2.CompressionJob(bytes_total=value))


def entry(message: str) -> events_pb2.Event:
    return events_pb2.Event(type="notification", notification=events_pb2.Notification(message=message))


@asynccontextmanager
async def watching(feed: Feed, after: Position | None = None) -> AsyncIterator[AsyncGenerator[Batch, None]]:
    async with aclosing(feed.watch(after, lambda event: event.key != "withdrawn")) as batches:
        yield batches


async def soon(batches: AsyncGenerator[Batch, None], within_s: float = 2.0) -> Batch:
    return await asyncio.wait_for(anext(batches), within_s)


def keys(batch: Batch) -> list[str]:
    return [event.key or event.notification.message for event in batch.events]


async def test_watcher_new_gets_the_present_states_at_once() -> None:
    feed = Feed(max_watchers=1)
    for event in (state("one", 1), entry("old"), state("withdrawn", 1), state("two", 1)):
        feed.publish(event)
    async with watching(feed) as batches:
        first = await soon(batches)
        assert keys(first) == ["one", "two"]
        assert first.position == feed.journal.position


async def test_watcher_waiting_gets_what_is_published() -> None:
    feed = Feed(max_watchers=1)
    async with watching(feed) as batches:
        await soon(batches)
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.wait({waiting}, timeout=0.01)
        feed.publish(entry("new"))
        assert keys(await asyncio.wait_for(waiting, 2)) == ["new"]


async def test_watcher_resuming_gets_what_it_missed() -> None:
    feed = Feed(max_watchers=1)
    feed.publish(entry("seen"))
    after = feed.journal.position
    for event in (entry("missed"), state("one", 1), state("one", 2)):
        feed.publish(event)
    async with watching(feed, after) as batches:
        batch = await soon(batches)
        assert (keys(batch), batch.lost) == (["missed", "one"], 0)
        assert batch.events[1].compression_job.bytes_total == 2


async def test_watcher_resuming_with_nothing_new_is_answered_at_once() -> None:
    feed = Feed(max_watchers=1)
    feed.publish(entry("seen"))
    async with watching(feed, feed.journal.position) as batches:
        assert await soon(batches) == Batch(feed.journal.position, [])


@pytest.mark.parametrize("after", [Position("another", 1), Position("", 0), Position("another", 10_000)])
async def test_watcher_of_another_epoch_gets_the_present_states(after: Position) -> None:
    feed = Feed(max_watchers=1)
    feed.publish(state("one", 1))
    async with watching(feed, after) as batches:
        assert keys(await soon(batches)) == ["one"]


async def test_watcher_ahead_of_the_journal_gets_the_present_states() -> None:
    feed = Feed(max_watchers=1)
    feed.publish(state("one", 1))
    async with watching(feed, Position(feed.journal.epoch, 99)) as batches:
        assert keys(await soon(batches)) == ["one"]


async def test_watcher_away_too_long_is_told_how_much_is_lost() -> None:
    feed = Feed(max_watchers=1)
    feed.publish(entry("seen"))
    after = feed.journal.position
    for number in range(1500):
        feed.publish(entry(str(number)))
    async with watching(feed, after) as batches:
        batch = await soon(batches)
        assert batch.lost == 500
        assert keys(batch) == [str(number) for number in range(500, 1500)]


async def test_watcher_far_behind_gets_bounded_batches() -> None:
    feed = Feed(max_watchers=1)
    feed.publish(entry("seen"))
    after = feed.journal.position
    for _ in range(30):
        feed.publish(entry("x" * 100_000))
    async with watching(feed, after) as batches:
        got: list[Batch] = [await soon(batches)]
        while got[-1].position != feed.journal.position:
            got.append(await soon(batches))
    assert sum(len(batch.events) for batch in got) == 30
    assert max(sum(event.ByteSize() for event in batch.events) for batch in got) < 2 << 20


async def test_watcher_in_a_quiet_time_hears_after_five_seconds() -> None:
    feed = Feed(max_watchers=1)
    async with watching(feed) as batches:
        await soon(batches)
        begun_s = asyncio.get_running_loop().time()
        assert (await soon(batches, 6)).events == []
        assert asyncio.get_running_loop().time() - begun_s == pytest.approx(5, abs=0.5)


async def test_watchers_beyond_the_bound_are_refused_until_one_leaves() -> None:
    feed = Feed(max_watchers=1)
    async with watching(feed) as batches:
        await soon(batches)
        async with watching(feed) as others:
            with pytest.raises(TooManyWatchers):
                await soon(others)
    async with watching(feed) as batches:
        await soon(batches)


async def test_watchers_of_a_closed_feed_get_the_last_events_then_the_end() -> None:
    feed = Feed(max_watchers=1)
    async with watching(feed) as batches:
        await soon(batches)
        feed.publish(entry("last"))
        feed.close()
        assert keys(await soon(batches)) == ["last"]
        with pytest.raises(Stopping):
            await soon(batches)
