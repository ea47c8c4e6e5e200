"""Publishing and waiting."""

import asyncio

from engine_events.v1 import events_pb2

from eventlog import Entry
from tests.engine_bridge.fakes import RecordingFeed, in_virtual_time, notification, seconds, status


@in_virtual_time
async def test_published_events_are_numbered_and_dated() -> None:
    feed = RecordingFeed()
    feed.publish([notification("a"), status()])
    feed.publish([notification("b")])
    entries = feed.journal.since(0).entries
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [entry.body.seq for entry in entries] == [1, 2, 3]
    assert [entry.key for entry in entries] == ["", "current", ""]
    assert all(entry.body.published_at.ToNanoseconds() == int(feed.now_s() * 1e9) for entry in entries)


@in_virtual_time
async def test_size_in_the_journal_is_the_size_on_the_wire() -> None:
    feed = RecordingFeed()
    feed.publish([notification("a" * 1000)])
    assert feed.journal.size_bytes == feed.journal.since(0).entries[0].body.ByteSize()


@in_virtual_time
async def test_reader_sees_all_events_of_one_publication_or_none() -> None:
    feed = RecordingFeed()
    seen: list[list[Entry[events_pb2.Event]]] = []

    async def read() -> None:
        await feed.beyond(0, 10)
        seen.append(feed.journal.since(0).entries)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    feed.publish([notification("a"), notification("b"), notification("c")])
    await task
    assert len(seen[0]) == 3


@in_virtual_time
async def test_beyond_returns_at_once_when_there_is_more() -> None:
    feed = RecordingFeed()
    feed.publish([notification("a")])
    before_s = seconds()
    await feed.beyond(0, 10)
    assert seconds() == before_s


@in_virtual_time
async def test_beyond_wakes_every_waiter_at_the_next_publication() -> None:
    feed = RecordingFeed()
    before_s = seconds()
    waiters = [asyncio.create_task(feed.beyond(0, 10)) for _ in range(5)]
    asyncio.get_running_loop().call_later(3, feed.publish, [notification("a")])
    await asyncio.gather(*waiters)
    assert seconds() == before_s + 3


@in_virtual_time
async def test_beyond_returns_after_its_time_when_nothing_comes() -> None:
    feed = RecordingFeed()
    before_s = seconds()
    await feed.beyond(0, 10)
    assert seconds() == before_s + 10
    await feed.beyond(0, -1)
    assert seconds() == before_s + 10


@in_virtual_time
async def test_empty_publication_wakes_waiters_and_numbers_nothing() -> None:
    """This is how a service that stops reaches its streams."""
    feed = RecordingFeed()
    before_s = seconds()
    waiter = asyncio.create_task(feed.beyond(0, 10))
    asyncio.get_running_loop().call_later(1, feed.publish, [])
    await waiter
    assert seconds() == before_s + 1
    assert feed.journal.head == 0
