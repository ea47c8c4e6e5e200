"""The stream as a reader over gRPC sees it."""

import asyncio
import random

import grpc
import pytest
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import events_pb2

from engine_bridge.errors import BadAnswer
from eventlog import Topics
from tests.engine_bridge.fakes import RecordingFeed, job, notification, source_of, state, status
from tests.engine_bridge.serving import Reader, Served, served

KILOBYTE = "k" * 1000


def filled(*events: events_pb2.Event, **bounds: int) -> RecordingFeed:
    feed = RecordingFeed(clock=None, **bounds)
    for event in events:
        feed.publish([event])
    return feed


def big(key: str, size: int = 100_000) -> events_pb2.Event:
    return state("engine.big", key, text="x" * size)


async def joined(at: Served, count: int) -> None:
    """Waits until so many streams are open."""
    async with asyncio.timeout(5):
        while (await at.status()).subscribers != count:  # noqa: ASYNC110 - the status can only be asked
            await asyncio.sleep(0.01)


async def test_first_response_comes_at_once_on_an_empty_journal() -> None:
    async with served(RecordingFeed(), heartbeat_s=30) as at:
        reader = await at.subscribe()
        assert reader.subscribed == pb.Subscribed(position=events_pb2.Position(epoch="e", seq=0), heartbeat_s=30)


async def test_reader_without_a_position_gets_what_comes_from_now_on() -> None:
    async with served(filled(notification("old"))) as at:
        reader = await at.subscribe()
        assert reader.subscribed.position.seq == 1
        assert not reader.subscribed.recovered
        at.feed.publish([notification("new")])
        await reader.read_through(2)
        assert reader.messages() == ["new"]


async def test_events_published_together_come_together() -> None:
    async with served(RecordingFeed()) as at:
        reader = await at.subscribe()
        at.feed.publish([notification(str(number)) for number in range(50)])
        response = await reader.read()
        assert [event.notification.message for event in response.batch.events] == [str(n) for n in range(50)]


async def test_snapshot_holds_the_latest_of_every_state_and_no_log() -> None:
    async with served(filled(status(1), notification("old"), job("a"), status(2))) as at:
        reader = await at.subscribe(snapshot=True)
        at.feed.publish([notification("new")])
        await reader.read_through(5)
        assert [(event.seq, event.key) for event in reader.snapshot] == [(3, "a"), (4, "current")]
        assert reader.messages() == ["new"]


async def test_large_snapshot_comes_in_parts_below_the_limit_of_grpc() -> None:
    """Every client takes 4 MiB in one message, and this is 6 MB."""
    async with served(filled(*(big(str(number)) for number in range(60)))) as at:
        reader = await at.subscribe(snapshot=True)
        await reader.read_through(60)
        assert [event.key for event in reader.snapshot] == [str(number) for number in range(60)]


async def test_snapshot_is_of_the_position_that_was_told() -> None:
    """A state that comes while the first response is being written is sent in its turn, and not twice."""
    async with served(filled(status())) as at:
        done = asyncio.Event()

        async def keep_publishing() -> None:
            while not done.is_set():
                at.feed.publish([status()])
                await asyncio.sleep(0)

        publisher = asyncio.create_task(keep_publishing())
        try:
            for _ in range(30):
                reader = await at.subscribe(snapshot=True)
                while not reader.events:
                    await reader.read()
                position = reader.subscribed.position.seq
                assert [event.seq for event in reader.snapshot if event.seq > position] == []
                assert min(reader.seqs()) > position
                reader.call.cancel()
        finally:
            done.set()
            await publisher


async def test_resume_gives_what_came_after_the_position() -> None:
    async with served(filled(notification("1"), notification("2"), status(1), status(2), notification("5"))) as at:
        reader = await at.subscribe(after=("e", 1))
        told = reader.subscribed
        assert (told.recovered, told.position.seq, told.replayed, told.superseded, told.lost) == (True, 5, 3, 1, 0)
        await reader.read_through(5)
        assert reader.seqs() == [2, 4, 5]
        at.feed.publish([notification("6")])
        await reader.read_through(6)
        assert reader.seqs() == [2, 4, 5, 6]
        assert reader.superseded == 0, "what the first response counted is not counted again"


async def test_long_replay_comes_in_messages_that_every_client_takes() -> None:
    """7 MB; and what the first response counted as superseded is not counted again in any of them."""
    keys = [key for number in range(10) for key in (f"a{number}", "b", f"c{number}", "d")]
    async with served(filled(*(big(key) for key in [*keys, *keys]))) as at:
        reader = await at.subscribe(after=("", 0))
        await reader.read_through(80)
        assert len(reader.events) == reader.subscribed.replayed == 22
        assert (reader.subscribed.superseded, reader.superseded) == (58, 0)
    async with served(filled(*(notification("n" * 100_000) for _ in range(70)))) as at:
        reader = await at.subscribe(after=("", 0))
        await reader.read_through(70)
        assert reader.seqs() == list(range(1, 71))


async def test_resume_at_the_head_is_recovered_with_nothing_to_replay() -> None:
    async with served(filled(notification("1"))) as at:
        reader = await at.subscribe(after=("e", 1), snapshot=True)
        assert reader.subscribed.recovered
        await reader.read_through(1)
        assert reader.snapshot == []
        assert reader.events == []


@pytest.mark.parametrize("after", [("f", 1), ("f", 0), ("e", 3), ("e", 1 << 63)])
async def test_position_that_is_not_of_this_journal_is_not_recovered(after: tuple[str, int]) -> None:
    """Another epoch's number means nothing here, and one ahead is of a journal that was lost."""
    async with served(filled(notification("1"), status())) as at:
        reader = await at.subscribe(after=after, snapshot=True)
        told = reader.subscribed
        assert (told.recovered, told.position.seq, told.replayed, told.lost) == (False, 2, 0, 0)
        at.feed.publish([notification("3")])
        await reader.read_through(3)
        assert [event.seq for event in reader.snapshot] == [2]
        assert reader.seqs() == [3]


async def test_position_of_no_epoch_is_the_start() -> None:
    async with served(filled(notification("1"), status(1), status(2))) as at:
        reader = await at.subscribe(after=("", 0), snapshot=True)
        assert reader.subscribed.recovered
        await reader.read_through(3)
        assert reader.seqs() == [1, 3]
        assert reader.snapshot == [], "everything is replayed"


async def test_types_and_patterns_choose_what_is_sent() -> None:
    async with served(RecordingFeed()) as at:
        reader = await at.subscribe("agent.*", "notification", snapshot=True)
        at.feed.publish([state("agent.status"), status(), notification("n"), state("agents.x"), state("agent.a.b")])
        await reader.read_through(5)
        assert [event.type for event in reader.events] == ["agent.status", "notification", "agent.a.b"]


async def test_counts_are_of_the_types_that_were_chosen() -> None:
    async with served(filled(status(), status(), job("a"), job("a"), job("a"))) as at:
        reader = await at.subscribe("compression.*", after=("", 0))
        assert (reader.subscribed.replayed, reader.subscribed.superseded) == (1, 2)


async def test_quiet_stream_carries_progress_marks() -> None:
    """With the present position, also when what happened was of no interest: resuming stays cheap."""
    async with served(RecordingFeed(), heartbeat_s=0.1) as at:
        reader = await at.subscribe("notification")
        await reader.read(1)
        at.feed.publish([status(), status()])
        await reader.read_through(2)
        assert reader.progress[0] == events_pb2.Position(epoch="e", seq=0)
        assert reader.progress[-1] == events_pb2.Position(epoch="e", seq=2)
        assert reader.events == []


async def test_stream_with_events_carries_no_progress_marks() -> None:
    async with served(RecordingFeed(), heartbeat_s=0.5) as at:
        reader = await at.subscribe()
        for number in range(1, 13):
            at.feed.publish([notification("n")])
            await reader.read_through(number)
            await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0.05)
        assert reader.progress == []


async def test_gap_at_the_beginning_is_told_twice_and_the_rest_is_sent() -> None:
    """In the first response, as a count, and then where it is."""
    async with served(filled(*(notification(str(number)) for number in range(1, 11)), max_log_events=3)) as at:
        reader = await at.subscribe(after=("e", 2))
        assert not reader.subscribed.recovered
        assert reader.subscribed.lost == 5
        await reader.read_through(10)
        assert reader.gaps == [pb.Gap(lost=5, from_seq=2, to_seq=7)]
        assert reader.messages() == ["8", "9", "10"]


async def test_reader_that_fell_behind_the_journal_is_told_the_gap() -> None:
    """What it got, what was superseded and what is lost add up to all that there was."""
    async with served(RecordingFeed(max_log_events=20)) as at:
        reader = await at.subscribe()
        for number in range(400):
            at.feed.publish([notification(f"{number} {KILOBYTE}"), status(number)])
            await asyncio.sleep(0)
        await reader.read_through(800)
        assert reader.lost > 0
        assert len(reader.events) + reader.superseded + reader.lost == 800
        assert reader.seqs() == sorted(set(reader.seqs()))
        assert reader.messages()[-20:] == [f"{number} {KILOBYTE}" for number in range(380, 400)]
        missing = set(range(1, 801)) - set(reader.seqs())
        logs_missing = {seq for seq in missing if seq % 2}
        assert len(logs_missing) == reader.lost
        assert all(any(gap.from_seq < seq <= gap.to_seq for gap in reader.gaps) for seq in logs_missing)


async def test_reader_that_stops_reading_gets_the_latest_states_and_every_log() -> None:
    """60 MB of states pass it by; what waits for it is what the journal holds, and not what it did not read."""
    async with served(RecordingFeed()) as at:
        reader = await at.subscribe()
        for number in range(600):
            at.feed.publish([big(str(number % 5)), notification(str(number))])
            await asyncio.sleep(0)
        await reader.read_through(1200)
        assert reader.bytes_read < 10_000_000
        assert reader.messages() == [str(number) for number in range(600)]
        latest = {event.key: event.seq for event in reader.events if event.key}
        assert latest == {entry.key: entry.seq for entry in at.feed.journal.states()}
        assert len(reader.events) + reader.superseded == 1200
        assert reader.gaps == []


async def test_reader_that_stops_reading_holds_nobody_up() -> None:
    async with served(RecordingFeed()) as at:
        await at.subscribe()
        reader = await at.subscribe()
        for number in range(1, 101):
            at.feed.publish([big("a")])
            await reader.read_through(number)
        assert reader.superseded == 0


async def test_any_history_read_in_any_rhythm_adds_up() -> None:
    """Readers of different types that read now and then: each ends with the journal's states, every log event that was
    not told lost, and counts that add up to the number of events of its types."""
    chance = random.Random(7)
    feed = RecordingFeed(max_log_events=30)
    async with served(feed, heartbeat_s=0.1) as at:
        interests = [(), ("notification",), ("engine.*",), ("compression.update", "notification")]
        readers = [(Topics(types or ["*"]), await at.subscribe(*types)) for types in interests]
        for _ in range(400):
            feed.publish(
                chance.choice(
                    [
                        notification(KILOBYTE * chance.randint(1, 20)),
                        job(chance.choice("abc")),
                        big(chance.choice("abc"), 20_000),
                    ]
                )
                for _ in range(chance.randint(1, 6))
            )
            await asyncio.sleep(0)
            for _, reader in readers:
                if chance.random() < 0.05:
                    await reader.read()
        for topics, reader in readers:
            await reader.read_through(feed.journal.head)
            history = [event for event in feed.history if topics.matches(event.type)]
            assert len(reader.events) + reader.superseded + reader.lost == len(history)
            assert reader.seqs() == sorted(set(reader.seqs()))
            latest = {(event.type, event.key): event.seq for event in reader.events if event.key}
            assert latest == {(entry.type, entry.key): entry.seq for entry in feed.journal.states(topics)}
            logs = [event for event in history if not event.key]
            assert sum(1 for event in reader.events if not event.key) == len(logs) - reader.lost
        assert any(reader.lost for _, reader in readers)


async def test_largest_answer_of_an_engine_reaches_a_reader_with_default_limits() -> None:
    """An event of 3 MiB, behind others that nearly fill a batch."""
    async with served(RecordingFeed()) as at:
        reader = await at.subscribe()
        at.feed.publish([big("a", 255_000), big("b", 3 << 20)])
        await reader.read_through(2)
        assert reader.seqs() == [1, 2]


@pytest.mark.parametrize("types", [["Not a type"], ["a..b"], ["*.a"], [""], [f"t{number}" for number in range(257)]])
async def test_malformed_types_are_refused(types: list[str]) -> None:
    async with served(RecordingFeed()) as at:
        assert await at.open(*types).status() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.events.GetSnapshot(pb.GetSnapshotRequest(types=types))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await at.status()).subscribers == 0


async def test_position_without_an_epoch_is_refused() -> None:
    async with served(RecordingFeed()) as at:
        assert await at.open(after=("", 5)).status() is grpc.StatusCode.INVALID_ARGUMENT


async def test_subscriber_too_many_is_refused_and_room_is_made_when_one_leaves() -> None:
    async with served(RecordingFeed(), max_subscribers=2) as at:
        first, second = await at.subscribe(), await at.subscribe()
        assert await at.open().status() is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.call.cancel()
        await joined(at, 1)
        third = await at.subscribe()
        at.feed.publish([notification("n")])
        for reader in (second, third):
            await reader.read_through(1)


async def test_subscriber_that_leaves_without_reading_is_gone() -> None:
    """It blocks its stream in the middle of a write; leaving frees its place all the same."""
    async with served(RecordingFeed(), max_subscribers=1) as at:
        reader = await at.subscribe()
        for _ in range(50):
            at.feed.publish([big("a"), notification("n")])
            await asyncio.sleep(0)
        reader.call.cancel()
        await joined(at, 0)


async def test_service_that_stops_ends_every_stream_as_unavailable() -> None:
    """The readers come back, and resume."""
    async with served(RecordingFeed(), heartbeat_s=30) as at:
        readers = [await at.subscribe() for _ in range(3)]
        at.service.stop()
        assert [await reader.status() for reader in readers] == [grpc.StatusCode.UNAVAILABLE] * 3
        assert (await at.status()).subscribers == 0


async def test_snapshot_call_gives_the_states_and_the_position() -> None:
    async with served(filled(status(1), notification("n"), job("a"), status(2))) as at:
        answer = await at.events.GetSnapshot(pb.GetSnapshotRequest())
        assert answer.position == events_pb2.Position(epoch="e", seq=4)
        assert [(event.seq, event.type) for event in answer.events] == [(3, "compression.update"), (4, "system.status")]
        chosen = await at.events.GetSnapshot(pb.GetSnapshotRequest(types=["system.*"]))
        assert [event.seq for event in chosen.events] == [4]


async def test_status_tells_of_the_journal_and_the_engine() -> None:
    feed = filled(*(notification(str(number)) for number in range(5)), status(), max_log_events=3)
    async with served(feed, is_engine_healthy=lambda: False) as at:
        await at.subscribe()
        told = await at.status()
        assert told.position == events_pb2.Position(epoch="e", seq=6)
        assert (told.journal_events, told.oldest_log_seq, told.journal_max_events) == (4, 3, 3)
        assert (told.journal_bytes, told.journal_max_bytes) == (feed.journal.size_bytes, feed.journal.max_bytes)
        assert (told.subscribers, told.engine, told.engine_healthy) == (1, "grpc://engine:1", False)
        assert told.started_at.seconds > 0
        assert told.sources == []


async def test_status_tells_of_every_source() -> None:
    """Sorted; one that never was asked, one whose breaker is open, one that is off, one that answered."""
    feed = RecordingFeed()
    fresh, failing, off, new = (
        source_of(feed, topic, failures=1) for topic in ("system.status", "agent.status", "storage.update", "x")
    )
    for source in (fresh, failing, off):
        ticket = source.guard.admit()
        assert ticket is not None
        if source is fresh:
            source.succeeded(ticket)
        elif source is failing:
            source.failed(ticket, BadAnswer("words \ud800"))
        else:
            source.switch_off(ticket)
    failing.rejected = 3
    resting = [asyncio.create_task(source.rest(60)) for source in (failing, off)]
    async with served(feed, fresh, failing, off, new) as at:
        told = {source.topic: source for source in (await at.status()).sources}
    for task in resting:
        task.cancel()
    assert list(told) == ["agent.status", "storage.update", "system.status", "x"]
    agent = told["agent.status"]
    assert (agent.breaker, agent.consecutive_failures, agent.last_error, agent.rejected) == (
        pb.BREAKER_STATE_OPEN,
        1,
        "words ?",
        3,
    )
    assert not agent.HasField("last_success")
    assert agent.next_try.seconds - feed.now_s() == pytest.approx(60, abs=5)
    assert told["storage.update"].off
    assert not told["storage.update"].HasField("next_try"), "off: not being asked"
    assert told["system.status"].breaker == pb.BREAKER_STATE_CLOSED
    assert told["system.status"].HasField("last_success")
    assert told["x"] == pb.SourceStatus(topic="x", breaker=pb.BREAKER_STATE_CLOSED)


async def test_readers_of_one_journal_see_the_same_events() -> None:
    async with served(RecordingFeed()) as at:
        readers: list[Reader] = [await at.subscribe() for _ in range(10)]
        for number in range(20):
            at.feed.publish([notification(str(number))])
        for reader in readers:
            await reader.read_through(20)
            assert reader.events == readers[0].events
