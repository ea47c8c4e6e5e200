"""The hub fans out to transports that remember: order, sharing, who falls behind, and what each client is told."""

import asyncio
import gc
import weakref
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from eventlog import Position, Topics
from tests.kit.history import History, check, is_notice
from tests.kit.record import Message
from tests.ws_gateway.fakes import FakeClient, Gateway, VirtualTimeLoop, in_virtual_time, log, pass_time, seconds, state
from ws_gateway import pulse
from ws_gateway.kernel import Acknowledged
from ws_gateway.protocol import DEFAULT_TYPES, NOWHERE

HIGH_BYTES, LOW_BYTES = 64 << 10, 16 << 10
"""Above the one a client is behind; at the other it goes on."""
PING = b"\x89\x00"
BIG = "x" * 70_000
"""In one event: more than the mark."""
EVERYTHING = ["*"]
NOTHING_MISSED = {"requested": False, "recovered": False, "replayed": 0, "superseded": 0, "lost": 0}


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def resume_of(client: FakeClient) -> Message:
    """What the last notice said of resuming."""
    answer: Message = [message for message in client.messages() if is_notice(message)][-1]["data"]["resume"]
    return answer


async def fall_behind(gateway: Gateway, client: FakeClient, type: str = "big.log") -> None:
    """Makes a client behind that is subscribed to `type`; it stands at the head."""
    client.transport.stall()
    gateway.log(type, fill=BIG)
    await pass_time(0.01)
    assert client.subscriber.behind


async def drain(client: FakeClient) -> None:
    client.transport.drain()
    await pass_time(0.2)
    assert not client.subscriber.behind


# --- joining


@in_virtual_time
async def test_client_gets_its_welcome_then_the_snapshot_then_what_is_new() -> None:
    """The snapshot is the latest of each state that it wants, and no log event."""
    async with Gateway() as gateway:
        gateway.publish(state(1, n=1), state(2, "agent.status"), log(3), state(4, n=4), state(5, "other.state"))
        client = gateway.join(["system.*", "agent.status", "notification"])
        gateway.log()
        await pass_time(0.01)
        welcome, *snapshot, live = client.messages()
        assert (is_notice(welcome), welcome["data"]["level"]) == (True, "info")
        assert (welcome["data"]["epoch"], welcome["data"]["seq"]) == ("e1", 5)
        assert welcome["data"]["subscriptions"] == ["agent.status", "notification", "system.*"]
        assert resume_of(client) == NOTHING_MISSED
        assert [(message["seq"], message["snapshot"]) for message in snapshot] == [(2, True), (4, True)]
        assert (live["seq"], "snapshot" in live) == (6, False)


@in_virtual_time
async def test_client_that_declines_the_snapshot_gets_what_is_new_only() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join(snapshot=False)
        gateway.state()
        await pass_time(0.01)
        assert kinds(client.messages()) == ["notification", "system.status"]
        assert client.seqs() == [2]


@in_virtual_time
async def test_client_without_a_topic_is_not_sent_its_events() -> None:
    async with Gateway() as gateway:
        client = gateway.join(["agent.*"])
        gateway.publish(state(1), log(2), state(3, "agent.status"), log(4, "agents.else"))
        await pass_time(0.01)
        assert client.seqs() == [3]


@in_virtual_time
async def test_client_that_came_before_any_bridge_is_given_the_first_epoch_with_a_snapshot() -> None:
    """What happened before it came is no news to it: it begins at the end of the journal."""
    gateway = Gateway()
    running = asyncio.create_task(gateway.hub.run())
    client = gateway.join()
    gateway.new_epoch("e1", state(1), log(2))
    await pass_time(0.01)
    gateway.log()
    await pass_time(0.01)
    first, second, snapshot, live = client.messages()
    assert (first["data"]["epoch"], first["data"]["seq"]) == ("", 0)
    assert (second["data"]["epoch"], second["data"]["seq"], second["data"]["level"]) == ("e1", 2, "warning")
    assert (snapshot["seq"], snapshot["snapshot"], live["seq"]) == (1, True, 3)
    running.cancel()
    await asyncio.wait([running])


# --- one write for many events, one buffer for many clients


@in_virtual_time
async def test_events_that_come_together_are_one_write_for_each_client() -> None:
    """Also those of several messages of the bridge, when they come before the hub has its turn."""
    async with Gateway() as gateway:
        clients = [gateway.join() for _ in range(3)]
        before = [len(client.writes) for client in clients]
        gateway.publish(log(1), log(2), state(3))
        gateway.publish(log(4))
        await pass_time(0.01)
        for client, count in zip(clients, before, strict=True):
            assert len(client.writes) == count + 1
            assert client.seqs() == [1, 2, 3, 4]


@in_virtual_time
async def test_clients_with_equal_topics_share_the_same_bytes() -> None:
    """The very same object, for live events, snapshots and heartbeats, however the subscriptions were written."""
    async with Gateway(heartbeat_s=2) as gateway:
        gateway.state()
        gateway.state(key="other")
        first = gateway.join(["notification", "system.status", "heartbeat"])
        second = gateway.join(Topics(["heartbeat", "system.status", "notification"]))
        assert second.subscriber.topics is not first.subscriber.topics
        other = gateway.join(["notification", "system.*", "heartbeat"])
        gateway.log()
        gateway.log()
        await pass_time(0.01)
        assert [one is two for one, two in zip(first.writes, second.writes, strict=True)] == [False, True, True]
        assert other.writes[-1] == first.writes[-1]
        assert other.writes[-1] is not first.writes[-1]


@in_virtual_time
async def test_batch_is_not_shared_beyond_its_cursor() -> None:
    """Clients that come between two events get the second only, whether the others come before or after them."""
    async with Gateway() as gateway:
        early = [gateway.join(), gateway.join()]
        gateway.log()
        late = [gateway.join(), gateway.join()]
        early.append(gateway.join(resume=Position("e1", 0)))
        gateway.log()
        await pass_time(0.01)
        assert [client.seqs() for client in early] == [[1, 2]] * 3
        assert [client.seqs() for client in late] == [[2]] * 2


# --- behind


@in_virtual_time
async def test_client_at_the_mark_is_not_behind_and_one_byte_over_it_is() -> None:
    async with Gateway() as gateway:
        for over, behind in ((0, False), (1, True)):
            client = gateway.join(["a.log"])
            gateway.log("a.log", fill=BIG)
            client.transport.buffered_bytes = HIGH_BYTES + over
            await pass_time(0.01)
            assert client.subscriber.behind is behind
            assert gateway.hub.behind_count == int(behind)


@in_virtual_time
async def test_client_that_is_behind_gets_nothing_more_until_it_has_drained() -> None:
    """No event, no heartbeat, no ping, no news of another client; above the low mark neither."""
    async with Gateway(heartbeat_s=4, stall_s=60) as gateway:
        client, other = gateway.join(EVERYTHING), gateway.join(EVERYTHING)
        await fall_behind(gateway, client)
        count = len(client.writes)
        gateway.log()
        gateway.state()
        await pass_time(9)
        client.transport.buffered_bytes = LOW_BYTES + 1
        gateway.log()
        await pass_time(9)
        assert len(client.writes) == count
        assert len(other.of_type("heartbeat")) >= 3
        client.transport.buffered_bytes = LOW_BYTES
        await pass_time(0.1)
        assert client.seqs()[-1] == gateway.head


@in_virtual_time
async def test_client_that_has_drained_gets_the_latest_states_and_every_log_event() -> None:
    """In order, each once, and nothing of what was superseded meanwhile."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "notification", "system.status"])
        await fall_behind(gateway, client)
        for _ in range(20):
            gateway.state()
            gateway.log()
        await drain(client)
        assert client.seqs() == [1, *range(3, 40, 2), 40, 41]
        gateway.log()
        await pass_time(0.01)
        assert client.seqs()[-1] == 42


@in_virtual_time
async def test_client_that_has_caught_up_is_told_once_what_was_superseded() -> None:
    """Whatever it is subscribed to; counts of its own topics only, after everything else."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "system.status"])
        await fall_behind(gateway, client)
        for _ in range(5):
            gateway.state()
            gateway.state("agent.status")
        await drain(client)
        await pass_time(1)
        assert client.messages()[-1]["type"] == "connection_error"
        assert client.told_missing() == [
            {
                "client_id": "c1",
                "reason": "behind",
                "error_code": "EVENTS_SUPERSEDED",
                "superseded": 4,
                "lost": 0,
                "from_seq": 1,
                "to_seq": 11,
                "timestamp": pytest.approx(1_700_000_000, abs=10),
            }
        ]
        assert gateway.hub.superseded_events == 4


@in_virtual_time
async def test_client_that_missed_nothing_while_behind_is_told_nothing() -> None:
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "system.status", "connection_error"])
        await fall_behind(gateway, client)
        gateway.state()
        gateway.state("agent.status")
        gateway.state("agent.status")
        await drain(client)
        assert client.seqs() == [1, 2]
        assert client.told_missing() == []


@in_virtual_time
async def test_client_is_told_how_many_log_events_the_journal_no_longer_has() -> None:
    """Before the events that come after them: if the connection breaks there, nobody goes past the gap unknowingly."""
    async with Gateway(max_log_events=3) as gateway:
        client = gateway.join(["big.log", "notification"])
        await fall_behind(gateway, client)
        for _ in range(10):
            gateway.log()
        await drain(client)
        (told,) = client.told_missing()
        assert (told["error_code"], told["lost"], told["superseded"]) == ("EVENTS_LOST", 7, 0)
        assert (told["from_seq"], told["to_seq"]) == (1, 11)
        assert client.seqs() == [1, 9, 10, 11]
        assert kinds(client.messages())[-4:] == ["connection_error", *["notification"] * 3]
        assert gateway.hub.lost_events == 7


@in_virtual_time
async def test_client_that_missed_both_states_and_log_events_is_told_both_once() -> None:
    async with Gateway(max_log_events=3) as gateway:
        client = gateway.join(["big.log", "notification", "system.status"])
        await fall_behind(gateway, client)
        for _ in range(10):
            gateway.log()
            gateway.state()
        await drain(client)
        await pass_time(1)
        assert [(told["lost"], told["superseded"]) for told in client.told_missing()] == [(7, 9)]
        assert (gateway.hub.lost_events, gateway.hub.superseded_events) == (7, 9)


@in_virtual_time
async def test_what_a_welcome_told_is_no_part_of_what_is_told_later() -> None:
    """Neither its counts nor its place."""
    async with Gateway() as gateway:
        gateway.publish(log(1), state(2), state(3), state(4))
        client = gateway.join(["big.log", "system.status"], resume=Position("e1", 1))
        assert resume_of(client)["superseded"] == 2
        await fall_behind(gateway, client)
        for _ in range(4):
            gateway.state()
        await drain(client)
        (told,) = client.told_missing()
        assert (told["superseded"], told["from_seq"], told["to_seq"]) == (3, 5, 9)


@in_virtual_time
async def test_loss_upstream_is_told_with_the_place_where_it_was() -> None:
    """To clients that were never behind, too, and not with a place that an earlier loss had."""
    async with Gateway() as gateway:
        gateway.publish(log(1), state(2), state(3))
        clients = [gateway.join(resume=Position("e1", 1)), gateway.join()]
        gateway.mirror.lose(3, 6, 2)
        gateway.publish(log(7))
        await pass_time(0.01)
        for client in clients:
            (told,) = client.told_missing()
            assert (told["lost"], told["superseded"], told["from_seq"], told["to_seq"]) == (2, 1, 3, 7)
            assert client.seqs()[-1] == 7


@in_virtual_time
async def test_client_told_once_is_not_told_the_same_again() -> None:
    """The counts of the second time are of the second time."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "system.status"])
        for times in (3, 6):
            await fall_behind(gateway, client)
            for _ in range(times):
                gateway.state()
            await drain(client)
        first, second = client.told_missing()
        assert (first["superseded"], second["superseded"]) == (2, 5)
        assert (first["from_seq"], first["to_seq"], second["from_seq"], second["to_seq"]) == (1, 4, 5, 11)


@in_virtual_time
async def test_client_that_falls_behind_again_with_all_that_it_missed_is_told_all_the_same() -> None:
    """One whose every catching up is more than the mark is told each time as soon as it has drained, before what is
    newer: it would wait for ever for a moment with nothing to send."""
    async with Gateway() as gateway:
        client = gateway.join(["big.state"])
        client.transport.stall()
        gateway.state("big.state", fill=BIG)
        for _ in range(4):
            await pass_time(0.1)
            for _ in range(5):
                gateway.state("big.state", fill=BIG)
            client.transport.drain(client.transport.buffered_bytes)
        await pass_time(0.1)
        assert [told["superseded"] for told in client.told_missing()] == [4, 4, 4]
        assert [(told["from_seq"], told["to_seq"]) for told in client.told_missing()] == [(1, 6), (6, 11), (11, 16)]


@in_virtual_time
async def test_long_catching_up_is_written_in_slices_and_told_once() -> None:
    """A client that takes one slice at a time holds no more than about one, and gets everything."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "a.log", "system.status"])
        await fall_behind(gateway, client)
        for _ in range(30):
            gateway.log("a.log", fill="x" * 20_000)
            gateway.state()
        held = []
        for _ in range(10):
            client.transport.drain(client.transport.buffered_bytes)
            await pass_time(0.1)
            held.append(client.transport.buffered_bytes)
        assert max(held) < 160_000
        assert len([size for size in held if size]) >= 4
        assert len(client.of_type("a.log")) == 30
        assert client.seqs() == sorted(set(client.seqs()))
        assert [told["superseded"] for told in client.told_missing()] == [29]


@in_virtual_time
async def test_client_that_its_snapshot_makes_fall_behind_gets_nothing_after_it_until_it_has_drained() -> None:
    async with Gateway() as gateway:
        gateway.log()
        gateway.state("big.state", fill=BIG)
        client = gateway.client(EVERYTHING)
        client.transport.stall()
        gateway.hub.join(client.subscriber, resume=Position("e0", 1), snapshot=True)
        gateway.log()
        await pass_time(1)
        assert client.seqs() == []
        await drain(client)
        assert client.seqs() == [3]


@in_virtual_time
async def test_clients_that_fall_behind_with_the_same_write_are_each_told_what_they_missed() -> None:
    """Whose last event it was, and who got theirs because another had it already."""
    async with Gateway() as gateway:
        clients = [gateway.join(["big.state"]) for _ in range(3)]
        for client in clients:
            client.transport.stall()
        gateway.state("big.state", fill=BIG)
        await pass_time(0.01)
        assert gateway.hub.behind_count == 3
        for _ in range(4):
            gateway.state("big.state", fill=BIG)
        for client in clients:
            client.transport.drain(client.transport.buffered_bytes)
        await pass_time(0.1)
        gateway.state("big.state", fill=BIG)
        gateway.state("big.state", fill=BIG)
        for client in clients:
            client.transport.drain()
        await pass_time(0.1)
        assert [[told["superseded"] for told in client.told_missing()] for client in clients] == [[3, 1]] * 3


# --- stalled


@in_virtual_time
async def test_client_that_does_not_drain_at_all_is_dropped_after_the_stall_time() -> None:
    """Not before; its eviction is called once, and nothing is written to it any more."""
    async with Gateway(stall_s=30) as gateway:
        client = gateway.join(EVERYTHING)
        await fall_behind(gateway, client)
        count = len(client.writes)
        await pass_time(29.8)
        assert (client.evicted, len(gateway.hub)) == (0, 1)
        await pass_time(0.4)
        assert (client.evicted, len(gateway.hub), gateway.hub.behind_count) == (1, 0, 0)
        client.transport.drain()
        gateway.log()
        await pass_time(60)
        assert client.evicted == 1
        assert len(client.writes) == count
        assert gateway.hub.dropped_clients == 1


@in_virtual_time
async def test_others_are_told_once_that_a_client_was_dropped() -> None:
    """Those who are subscribed to connection_error."""
    async with Gateway(stall_s=5) as gateway:
        stalled, other, uninterested = gateway.join(EVERYTHING), gateway.join(), gateway.join(["system.status"])
        await fall_behind(gateway, stalled)
        await pass_time(20)
        (told,) = other.of_type("connection_error")
        assert told["data"]["client_id"] == stalled.subscriber.client_id
        assert (told["data"]["reason"], told["data"]["error_code"]) == ("buffer_full", "CONNECTION_DROP")
        assert uninterested.of_type("connection_error") == []
        assert stalled.of_type("connection_error") == []


@in_virtual_time
async def test_client_that_drains_however_slowly_is_never_dropped() -> None:
    async with Gateway(stall_s=5) as gateway:
        client = gateway.join(["big.log"])
        await fall_behind(gateway, client)
        for _ in range(40):
            await pass_time(4.5)
            client.transport.drain(1000)
        assert client.evicted == 0
        assert client.subscriber.behind


@in_virtual_time
async def test_stall_time_starts_anew_each_time_a_client_falls_behind() -> None:
    async with Gateway(stall_s=5) as gateway:
        client = gateway.join(["big.log"])
        for _ in range(4):
            await fall_behind(gateway, client)
            await pass_time(4)
            await drain(client)
        assert client.evicted == 0


@in_virtual_time
async def test_buffer_that_grows_by_what_is_not_the_hubs_is_no_sign_of_life() -> None:
    """Answers to a client's own requests may go into its buffer; only a new low counts as draining."""
    async with Gateway(stall_s=5) as gateway:
        client = gateway.join(["big.log"])
        await fall_behind(gateway, client)
        least = client.transport.buffered_bytes
        for _ in range(6):
            client.transport.buffered_bytes = least + 500
            await pass_time(0.5)
            client.transport.buffered_bytes = least
            await pass_time(0.5)
        assert client.evicted == 1


@in_virtual_time
async def test_only_clients_that_were_here_for_a_while_count_as_a_reason_to_collect_garbage() -> None:
    """A flood of connections that end at once would have Python look through all that there is, again and again."""
    async with Gateway() as gateway:
        brief, lasting = gateway.join(), gateway.join()
        gateway.leave(brief)
        assert gateway.hub.left_clients == 0
        await pass_time(1.5)
        gateway.leave(lasting)
        assert gateway.hub.left_clients == 1


# --- resuming


@in_virtual_time
async def test_resumed_client_gets_everything_after_its_position_and_no_snapshot() -> None:
    async with Gateway() as gateway:
        gateway.publish(log(1), state(2), log(3), state(4), state(5, "agent.status"), state(6), log(7))
        client = gateway.join(["notification", "system.status"], resume=Position("e1", 1))
        welcome, *events = client.messages()
        assert welcome["data"]["seq"] == 7
        assert welcome["data"]["resume"] == {
            "requested": True,
            "recovered": True,
            "replayed": 3,
            "superseded": 2,
            "lost": 0,
        }
        assert [message["seq"] for message in events] == [3, 6, 7]
        assert not any("snapshot" in message for message in events)
        assert client.told_missing() == [], "the welcome has told it"


@in_virtual_time
async def test_resumed_client_that_missed_nothing_gets_nothing() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join(resume=Position("e1", 1))
        assert len(client.messages()) == 1
        assert resume_of(client) == NOTHING_MISSED | {"requested": True, "recovered": True}


@pytest.mark.parametrize("position", [Position("e0", 1), Position("e1", 4), Position("", 1), NOWHERE])
def test_position_that_means_nothing_here_is_answered_with_a_snapshot(position: Position) -> None:
    """Of another epoch, not reached yet, without an epoch, unreadable."""

    @in_virtual_time
    async def scenario() -> None:
        async with Gateway() as gateway:
            gateway.publish(log(1), state(2), log(3))
            client = gateway.join(resume=position)
            assert resume_of(client) == NOTHING_MISSED | {"requested": True}
            assert [message.get("snapshot") for message in client.messages()] == [None, True]
            gateway.log()
            await pass_time(0.01)
            assert client.seqs() == [4]

    scenario()


@in_virtual_time
async def test_client_ahead_of_this_gateway_is_waited_for_and_gets_nothing_twice() -> None:
    """It comes from another gateway of the same bridge, which had those events a moment sooner."""
    async with Gateway() as gateway:
        gateway.publish(log(1), log(2))
        position = Position("e1", 4)
        reaching = asyncio.create_task(gateway.hub.reach(position))
        await pass_time(0.1)
        gateway.publish(log(3))
        await pass_time(0.1)
        assert not reaching.done()
        gateway.publish(log(4), log(5))
        await pass_time(0.01)
        assert reaching.done()
        client = gateway.join(resume=position)
        assert resume_of(client) == NOTHING_MISSED | {"requested": True, "recovered": True, "replayed": 1}
        assert client.seqs() == [5]


@pytest.mark.parametrize(
    ("position", "waited_s"),
    [(Position("e1", 9), 1), (Position("e1", 2), 0), (Position("e0", 9), 0), (NOWHERE, 0), (None, 0)],
)
def test_no_other_position_is_waited_for_and_none_for_long(position: Position | None, waited_s: float) -> None:
    """One that nobody has given out would be waited for in vain."""

    @in_virtual_time
    async def scenario() -> None:
        async with Gateway() as gateway:
            gateway.publish(log(1), log(2))
            began_s = seconds()
            await gateway.hub.reach(position)
            assert seconds() - began_s == pytest.approx(waited_s)

    scenario()


@in_virtual_time
async def test_resume_past_the_journals_bounds_tells_the_exact_loss_in_the_welcome_and_not_again() -> None:
    async with Gateway(max_log_events=4) as gateway:
        gateway.publish(*(log(seq) for seq in range(1, 11)), state(11), state(12))
        client = gateway.join(resume=Position("e1", 2))
        assert resume_of(client) == {
            "requested": True,
            "recovered": False,
            "replayed": 5,
            "superseded": 1,
            "lost": 4,
        }
        assert client.seqs() == [7, 8, 9, 10, 12]
        assert [message["seq"] for message in client.messages() if "snapshot" in message] == [12]
        await pass_time(1)
        assert client.told_missing() == []


@in_virtual_time
async def test_what_goes_missing_during_a_slow_replay_is_told_beside_what_the_welcome_told() -> None:
    """The welcome's counts and the later ones add up to exactly what did not come."""
    async with Gateway(max_log_events=30) as gateway:
        for _ in range(20):
            gateway.log("a.log", fill="x" * 20_000)
            gateway.state(fill="y" * 1000)
        client = gateway.client(["a.log", "system.status"])
        client.transport.stall()
        gateway.hub.join(client.subscriber, resume=Position("e1", 0), snapshot=True)
        assert resume_of(client) == {
            "requested": True,
            "recovered": True,
            "replayed": 21,
            "superseded": 19,
            "lost": 0,
        }
        for _ in range(15):  # the state is replaced, and log events go that have not been written yet
            gateway.state()
            gateway.log("other.log")
        came_at_first = len(client.seqs())
        assert 0 < came_at_first < 21
        await drain(client)
        published = 40 + 15
        (told,) = client.told_missing()
        assert told["superseded"] == 15
        assert told["lost"] == 0
        assert len(client.seqs()) + 19 + 15 == published
        assert told["to_seq"] == gateway.head


@in_virtual_time
async def test_log_events_lost_during_a_slow_replay_are_told_exactly() -> None:
    async with Gateway(max_log_events=20) as gateway:
        for _ in range(20):
            gateway.log("a.log", fill="x" * 20_000)
        client = gateway.client(["a.log"])
        client.transport.stall()
        gateway.hub.join(client.subscriber, resume=Position("e1", 0), snapshot=True)
        came = len(client.seqs())
        for _ in range(15):
            gateway.log("a.log", fill="x")
        await drain(client)
        (told,) = client.told_missing()
        assert told["lost"] == 15 - came
        assert len(client.seqs()) + told["lost"] == 35


# --- the bridge goes, and comes back


def stale_of(client: FakeClient, since: int = 0) -> list[Message]:
    return [message for message in client.messages(since) if message["data"].get("stale") is True]


@in_virtual_time
async def test_outage_is_told_once_with_every_state_marked_stale() -> None:
    """However often the gateway fails to reach the bridge again, and without numbers: they are not from the journal."""
    async with Gateway() as gateway:
        gateway.publish(state(1), state(2, "agent.status"), state(3, "other.state"))
        client = gateway.join()
        count = len(client.writes)
        gateway.lose_bridge(1, "rpc_timeout")
        await pass_time(0.01)
        for failures in range(2, 6):
            gateway.lose_bridge(failures, "rpc_disconnect")
            await pass_time(1)
        error, *states = client.messages(count)
        assert error["type"] == "rpc_error"
        assert (error["data"]["reason"], error["data"]["error_code"]) == ("rpc_timeout", "BRIDGE_DISCONNECT")
        assert kinds(states) == ["system.status", "agent.status"]
        for message in [error, *states]:
            assert "seq" not in message
        for message in states:
            assert message["data"]["stale"] is True
            assert message["data"]["error_code"] == "BRIDGE_DISCONNECT"


@in_virtual_time
async def test_client_without_rpc_error_gets_the_stale_states_only() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join(["system.status"])
        count = len(client.writes)
        gateway.lose_bridge()
        await pass_time(0.01)
        assert kinds(client.messages(count)) == ["system.status"]


@in_virtual_time
async def test_client_that_joins_in_an_outage_is_told_as_the_others_were() -> None:
    """Its states are stale ones, once each, and never shown as fresh first."""
    async with Gateway() as gateway:
        gateway.state()
        gateway.lose_bridge()
        client = gateway.join()
        await pass_time(1)
        assert kinds(client.messages()) == ["notification", "rpc_error", "system.status"]
        assert len(stale_of(client)) == 1


@in_virtual_time
async def test_client_that_resumes_in_an_outage_gets_what_it_missed_and_then_the_states_marked_stale() -> None:
    async with Gateway() as gateway:
        gateway.publish(state(1), log(2), state(3, "agent.status"))
        gateway.lose_bridge()
        client = gateway.join(resume=Position("e1", 1))
        assert kinds(client.messages()) == [
            "notification",
            "notification",
            "agent.status",
            "rpc_error",
            "system.status",
            "agent.status",
        ]
        assert client.seqs() == [2, 3]
        assert [message["type"] for message in stale_of(client)] == ["system.status", "agent.status"]


@in_virtual_time
async def test_client_that_catches_up_in_an_outage_is_told_then() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join()
        client.transport.stall()
        gateway.state(fill=BIG)
        await pass_time(0.01)
        count = len(client.writes)
        gateway.log()
        gateway.lose_bridge()
        await pass_time(1)
        assert len(client.writes) == count
        await drain(client)
        assert kinds(client.messages(count)) == ["notification", "rpc_error", "system.status"]
        assert len(stale_of(client)) == 1


@in_virtual_time
async def test_bridge_that_returns_makes_unchanged_states_fresh_and_sends_changed_ones_once() -> None:
    async with Gateway() as gateway:
        gateway.publish(state(1), state(2, "agent.status"), state(3, "storage.update", stale=True))
        client = gateway.join()
        gateway.lose_bridge()
        await pass_time(0.01)
        count = len(client.writes)
        gateway.recover(state(4, "agent.status"), log(5))
        await pass_time(1)
        back = client.messages(count)
        assert [(message["seq"], message.get("snapshot", False)) for message in back] == [
            (1, True),
            (3, True),
            (4, False),
            (5, False),
        ]
        assert [message["data"].get("stale") for message in back] == [False, True, False, None]
        assert back[1]["data"]["error_code"] == "RPC_DISCONNECT", "the bridge itself says so"


@in_virtual_time
async def test_clients_that_want_the_same_are_told_the_same() -> None:
    """Each of them, not only the first that the hub comes to: events, outage, recovery, another epoch, a gap."""
    async with Gateway(max_log_events=5) as gateway:
        gateway.publish(state(1), state(2, "agent.status"), log(3))
        clients = [gateway.join() for _ in range(4)]
        gateway.publish(log(4), state(5))
        await pass_time(0.01)
        gateway.lose_bridge()
        await pass_time(0.01)
        gateway.recover(log(6), state(7))
        await pass_time(0.01)
        gateway.publish(state(8), state(9), *(log(seq) for seq in range(10, 20)))
        await pass_time(0.01)
        gateway.lose_bridge()
        await pass_time(0.01)
        gateway.new_epoch("e2", log(1), state(2), state(3))
        await pass_time(0.01)
        gateway.publish(log(4))
        await pass_time(0.01)
        first, *others = [
            [
                (message["type"], message.get("seq"), message.get("snapshot"), message["data"].get("stale"))
                for message in client.messages()
            ]
            for client in clients
        ]
        assert len(first) > 25
        assert others == [first] * 3
        assert [[told["lost"], told["superseded"]] for told in clients[3].told_missing()] == [[5, 1]]


@in_virtual_time
async def test_second_outage_is_told_again() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join()
        for _ in range(2):
            gateway.lose_bridge()
            await pass_time(0.01)
            gateway.recover()
            await pass_time(0.01)
        assert len(client.of_type("rpc_error")) == 2
        fresh = [message["data"]["stale"] for message in client.of_type("system.status")]
        assert fresh == [False, True, False, True, False]


@in_virtual_time
async def test_client_for_whom_no_catching_up_ends_is_told_all_the_same_that_the_bridge_is_back() -> None:
    """It is behind with every write; the state that did not change must not stay stale for it."""
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join(["system.status", "big.state"])
        client.transport.stall()
        gateway.lose_bridge()
        await pass_time(0.01)
        gateway.recover()
        for _ in range(4):
            gateway.state("big.state", fill=BIG)
            await pass_time(0.1)
            gateway.state("big.state", fill=BIG)
            client.transport.drain(client.transport.buffered_bytes)
        assert [message["data"]["stale"] for message in client.of_type("system.status")][-2:] == [True, False]


@in_virtual_time
async def test_new_epoch_is_a_warning_then_a_snapshot_then_its_log_events() -> None:
    """All of them, from the first on: the client was here when they happened, and nobody told it."""
    async with Gateway() as gateway:
        gateway.publish(state(1), log(2))
        client = gateway.join(["system.status", "notification"])
        count = len(client.writes)
        gateway.new_epoch("e2", log(1), state(2), state(3), log(4), log(5, "other.log"))
        await pass_time(0.01)
        notice, snapshot, *live = client.messages(count)
        assert (notice["data"]["level"], notice["data"]["epoch"], notice["data"]["seq"]) == ("warning", "e2", 0)
        assert notice["data"]["client_id"] == client.subscriber.client_id
        assert notice["data"]["resume"] == {
            "requested": False,
            "recovered": False,
            "replayed": 3,
            "superseded": 1,
            "lost": 0,
        }
        assert (snapshot["seq"], snapshot["snapshot"]) == (3, True)
        assert [message["seq"] for message in live] == [1, 3, 4]
        assert client.told_missing() == []


@in_virtual_time
async def test_new_epoch_after_an_outage_is_told_without_telling_the_outage_again() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join()
        gateway.lose_bridge()
        await pass_time(0.01)
        gateway.new_epoch("e2", state(1))
        await pass_time(1)
        assert len(client.of_type("rpc_error")) == 1
        assert client.messages()[-1]["data"]["stale"] is False


@in_virtual_time
async def test_epoch_that_changes_while_a_client_is_behind_is_told_when_it_has_drained() -> None:
    """The old journal's numbers mean nothing any more: what was missing of it is not told with those of the new."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log", "system.status", "notification"])
        await fall_behind(gateway, client)
        for _ in range(5):
            gateway.state()
        count = len(client.writes)
        gateway.new_epoch("e2", state(1), log(2))
        await pass_time(1)
        assert len(client.writes) == count
        await drain(client)
        assert kinds(client.messages(count)) == ["notification", "system.status", "system.status", "notification"]
        assert client.told_missing() == []


@in_virtual_time
async def test_bridge_lost_again_right_after_a_new_epoch_is_told_after_it() -> None:
    async with Gateway() as gateway:
        gateway.state()
        client = gateway.join()
        count = len(client.writes)
        gateway.new_epoch("e2", state(1), log(2))
        gateway.lose_bridge()
        await pass_time(1)
        told = client.messages(count)
        assert [message["data"].get("epoch") for message in told if is_notice(message)] == ["e2"]
        assert told[-1]["data"]["stale"] is True
        assert kinds(told).count("rpc_error") == 1


# --- subscriptions


@in_virtual_time
async def test_added_topics_bring_their_snapshot_and_nothing_that_the_client_had() -> None:
    async with Gateway() as gateway:
        gateway.publish(state(1), state(2, "agent.status"), state(3, "agent.swarm"), log(4, "agent.log"))
        client = gateway.join(["system.status", "agent.status"])
        count = len(client.writes)
        gateway.hub.resubscribe(client.subscriber, Topics(["system.status", "agent.status", "agent.*"]))
        gateway.log("agent.log")
        await pass_time(0.01)
        assert [(message["seq"], message.get("snapshot")) for message in client.messages(count)] == [
            (3, True),
            (5, None),
        ]


@in_virtual_time
async def test_events_from_before_a_subscription_changes_are_those_of_the_old_one() -> None:
    """What came before the request is delivered first, also when the hub has not had its turn yet."""
    async with Gateway() as gateway:
        client = gateway.join(["a.log"])
        gateway.publish(log(1, "a.log"), log(2, "b.log"), state(3, "b.state"))
        gateway.hub.resubscribe(client.subscriber, Topics(["b.*"]))
        gateway.publish(log(4, "a.log"), log(5, "b.log"))
        await pass_time(0.01)
        numbered = [(message["seq"], message.get("snapshot")) for message in client.messages()[1:]]
        assert numbered == [(1, None), (3, True), (5, None)]


@in_virtual_time
async def test_topics_added_in_an_outage_bring_stale_states() -> None:
    async with Gateway() as gateway:
        gateway.state()
        gateway.lose_bridge()
        client = gateway.join(["agent.status"])
        gateway.hub.resubscribe(client.subscriber, Topics(["system.status"]))
        await pass_time(0.01)
        (message,) = client.of_type("system.status")
        assert (message["data"]["stale"], "seq" in message) == (True, False)


@in_virtual_time
async def test_topics_added_before_a_new_epoch_is_told_bring_nothing_of_it_before_its_notice() -> None:
    """A number without its epoch would be taken for one of the old journal."""
    async with Gateway() as gateway:
        client = gateway.join(["big.log"])
        await fall_behind(gateway, client)
        gateway.new_epoch("e2", state(1))
        count = len(client.writes)
        gateway.hub.resubscribe(client.subscriber, Topics(["system.status"]))
        await drain(client)
        notice, snapshot, live = client.messages(count)
        assert (notice["data"]["epoch"], notice["data"]["subscriptions"]) == ("e2", ["system.status"])
        assert (snapshot["snapshot"], live["seq"]) == (True, 1)


@in_virtual_time
async def test_counts_are_right_for_a_client_that_changes_what_it_wants_during_a_slow_replay() -> None:
    """What the welcome told of one topic does not make up for what goes missing of another."""
    async with Gateway() as gateway:
        for _ in range(20):
            gateway.state("a.state")
            gateway.log("a.log", fill="x" * 20_000)
        client = gateway.client(["a.state", "a.log", "b.state"])
        client.transport.stall()
        gateway.hub.join(client.subscriber, resume=Position("e1", 0), snapshot=True)
        assert resume_of(client)["superseded"] == 19
        gateway.hub.resubscribe(client.subscriber, Topics(["a.log", "b.state", "c.state"]))
        for _ in range(8):
            gateway.state("b.state")
        await drain(client)
        assert [told["superseded"] for told in client.told_missing()] == [7]


# --- heartbeats


@in_virtual_time
async def test_every_client_gets_one_heartbeat_in_each_heartbeat_time() -> None:
    async with Gateway(heartbeat_s=4) as gateway:
        clients = [gateway.join(["heartbeat"]) for _ in range(30)]
        await pass_time(4.01 * 5)
        for client in clients:
            times = [at_s for at_s, message in client.timed() if message["type"] == "heartbeat"]
            assert len(times) in (5, 6)
            gaps = [later - earlier for earlier, later in pairwise(times)]
            assert gaps == pytest.approx([4.0] * len(gaps))


@in_virtual_time
async def test_no_moment_has_the_heartbeats_of_all() -> None:
    """The clients take turns: a gateway with thousands of them never writes to all at once because of the time."""
    async with Gateway(heartbeat_s=30) as gateway:
        clients = [gateway.join(["heartbeat"]) for _ in range(120)]
        await pass_time(30.1)
        moments = Counter(at_s for client in clients for at_s, _ in client.timed() if at_s > 0.1)
        assert len(moments) == 60
        assert max(moments.values()) == 2


@in_virtual_time
async def test_every_client_is_pinged_half_way_between_its_heartbeats() -> None:
    """And instead of a heartbeat that it does not want: whoever vanished is noticed only when something is sent."""
    async with Gateway(heartbeat_s=4) as gateway:
        for types, every_s in ((["heartbeat"], 4.0), ([], 2.0)):
            client = gateway.join(types)
            await pass_time(20)
            pings = [at_s for at_s, data in client.transport.writes if data == PING]
            assert len(pings) >= 5
            assert {later - earlier for earlier, later in pairwise(pings)} == {every_s}


@in_virtual_time
async def test_client_whose_kernel_has_just_answered_is_not_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of events needs no pings beside it; in silence they come."""
    async with Gateway(heartbeat_s=30) as gateway:
        client = gateway.join(["notification"])
        answered_s = 0.0

        def heard(transport: asyncio.Transport) -> Acknowledged:
            assert transport is client.transport
            return Acknowledged(0, False, seconds() - answered_s)

        monkeypatch.setattr(pulse, "acknowledged", heard)
        for _ in range(60):
            answered_s = seconds()
            gateway.log()
            await pass_time(1)
        assert PING not in client.writes
        await pass_time(40)
        pings = [at_s - answered_s for at_s, data in client.transport.writes if data == PING]
        assert 3 <= pings[0] <= 3 + 15
        assert pings[1] - pings[0] == pytest.approx(15)


@in_virtual_time
async def test_heartbeat_tells_the_position_and_how_fresh_each_topic_is() -> None:
    async with Gateway(heartbeat_s=1) as gateway:
        gateway.state()
        gateway.log()
        client = gateway.join(["heartbeat"])
        await pass_time(3)
        beat = client.of_type("heartbeat")[-1]["data"]
        assert (beat["epoch"], beat["seq"], beat["bridge_connected"]) == ("e1", 2, True)
        assert 2 < beat["freshness"]["system.status"] <= 3
        gateway.lose_bridge()
        await pass_time(2)
        assert client.of_type("heartbeat")[-1]["data"]["bridge_connected"] is False


# --- leaving


@in_virtual_time
async def test_client_that_left_is_written_nothing_more() -> None:
    """No event, heartbeat, ping, outage or epoch, nor the snapshot of a subscription that was on its way."""
    async with Gateway(heartbeat_s=1) as gateway:
        gateway.publish(state(1), log(2))
        client, other = gateway.join(EVERYTHING), gateway.join(EVERYTHING)
        gateway.log()
        gateway.leave(client)
        gateway.leave(client)
        count = len(client.writes)
        gateway.hub.resubscribe(client.subscriber, Topics(["system.*"]))
        gateway.lose_bridge()
        await pass_time(2)
        gateway.new_epoch("e2", state(1))
        await pass_time(2)
        assert len(client.writes) == count
        assert len(gateway.hub) == 1
        assert len(other.messages()) > 10


@in_virtual_time
async def test_nothing_of_a_client_that_left_is_kept() -> None:
    async with Gateway(heartbeat_s=1) as gateway:
        client = gateway.join()
        await pass_time(2)
        left = weakref.ref(client.subscriber)
        gateway.leave(client)
        del client
        gateway.state()
        await pass_time(2)
        gc.collect()
        assert left() is None


@in_virtual_time
async def test_client_that_left_while_behind_is_forgotten() -> None:
    async with Gateway(stall_s=1) as gateway:
        client, other = gateway.join(EVERYTHING), gateway.join()
        await fall_behind(gateway, client)
        gateway.leave(client)
        await pass_time(5)
        assert (client.evicted, gateway.hub.behind_count, gateway.hub.dropped_clients) == (0, 0, 0)
        assert other.of_type("connection_error") == []


@in_virtual_time
async def test_client_whose_transport_is_closing_is_not_written_to() -> None:
    """Its handler has not noticed yet; those before and after it go on."""
    async with Gateway(heartbeat_s=1) as gateway:
        other, client = gateway.join(), gateway.join()
        client.transport.abort()
        gateway.log()
        await pass_time(3)
        assert other.seqs() == [1]


# --- fairness


@in_virtual_time
async def test_other_tasks_run_between_the_slices_of_a_large_flush() -> None:
    """Within a slice of some 500 clients nobody else has a turn, so that all of them get the same batch."""
    async with Gateway() as gateway:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        clients = [gateway.join(["notification"]) for _ in range(1200)]
        seen: list[int] = []
        for client in clients:
            client.transport.on_write = lambda: seen.append(turns)
        gateway.log()
        turning = asyncio.create_task(turn())
        for _ in range(20):
            await asyncio.sleep(0)
        turning.cancel()
        assert sorted(Counter(seen).values()) == [200, 500, 500]


@in_virtual_time
async def test_part_of_each_long_flush_is_left_free_before_the_next() -> None:
    """Half of its duration, so that the upstream stream is not starved; what comes meanwhile is joined."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    async with Gateway() as gateway:
        clients = [gateway.join(["notification"]) for _ in range(100)]
        for client in clients:
            client.transport.on_write = lambda: loop.jump(0.001)
        began_s = seconds()
        gateway.log()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        flushed_s = seconds()
        assert flushed_s - began_s == pytest.approx(0.1)
        gateway.log()
        gateway.log()
        await pass_time(0.3)
        times = [at_s for at_s, message in clients[0].timed() if "seq" in message]
        assert [at_s - flushed_s for at_s in times] == pytest.approx([-0.1, 0.05, 0.05], abs=0.002)


@in_virtual_time
async def test_short_flush_is_followed_by_the_next_at_once() -> None:
    """When it is quiet nothing is delayed."""
    async with Gateway() as gateway:
        client = gateway.join()
        before_s = seconds()
        for _ in range(5):
            gateway.log()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert seconds() == before_s
        assert client.seqs() == [1, 2, 3, 4, 5]


def history_of(client: FakeClient) -> History:
    return client.timed()


@in_virtual_time
async def test_what_is_written_keeps_every_rule_of_the_contract() -> None:
    """Through an outage, a new epoch, and falling behind."""
    async with Gateway(heartbeat_s=5) as gateway:
        client = gateway.join([*DEFAULT_TYPES, "big.log"])
        payload: dict[str, Any] = {"hostname": "nas"}
        for _ in range(3):
            gateway.state(**payload)
            gateway.log()
            await fall_behind(gateway, client)
            gateway.state()
            gateway.state()
            await drain(client)
            gateway.lose_bridge()
            await pass_time(3)
            gateway.recover()
            await pass_time(3)
        gateway.lose_bridge()
        await pass_time(1)
        gateway.new_epoch("e2", state(1), log(2))
        await pass_time(6)
        assert check(history_of(client)) == []
        assert len(client.messages()) > 25


@in_virtual_time
async def test_client_is_brought_up_to_date_before_the_next_flush() -> None:
    """So that an answer can be written behind what is older than it."""
    async with Gateway() as gateway:
        client = gateway.join(["notification"])
        gateway.log()
        assert client.seqs() == [], "what is new waits for the flush"
        gateway.hub.bring_up_to_date(client.subscriber)
        assert client.seqs() == [1]
        await pass_time(1)
        assert client.seqs() == [1]
