"""The judges are judged: each rule refuses histories that break it and lets near misses pass."""

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit import history as judge
from tests.kit.history import DEFAULT_TYPES, Position, Violation

NOW = "2026-01-02T03:04:05.678Z"
Message = dict[str, Any]


# ---- building histories


def welcome(
    epoch: str = "e", seq: int = 0, types: list[str] | None = None, level: str = "info", **resume: Any
) -> Message:
    data = {
        "message": "hello",
        "level": level,
        "client_id": "c1",
        "subscriptions": sorted(DEFAULT_TYPES if types is None else types),
        "epoch": epoch,
        "seq": seq,
        "resume": {"requested": False, "recovered": False, "replayed": 0, "superseded": 0, "lost": 0} | resume,
        "heartbeat_s": 30,
    }
    return {"type": "notification", "timestamp": NOW, "data": data}


def resumed(epoch: str = "e", seq: int = 0, **resume: Any) -> Message:
    return welcome(epoch, seq, **({"requested": True, "recovered": True} | resume))


def log(seq: int, text: str = "") -> Message:
    data = {"message": text or f"n={seq}", "level": "info", "source": "engine", "timestamp": 1.5}
    return {"type": "notification", "timestamp": NOW, "seq": seq, "data": data}


def system(seq: int, value: float = 1.0, **data: Any) -> Message:
    return {
        "type": "system.status",
        "timestamp": NOW,
        "seq": seq,
        "data": {"cpu_usage": value, "stale": False, "timestamp": 1.5} | data,
    }


def job(seq: int, job_id: str, progress: float = 1.0) -> Message:
    data = {"job_id": job_id, "progress": progress, "stale": False}
    return {"type": "compression.update", "timestamp": NOW, "seq": seq, "data": data}


def snap(message: Message) -> Message:
    return message | {"snapshot": True}


def bare(kind: str, **data: Any) -> Message:
    return {"type": kind, "timestamp": NOW, "data": data}


def behind(superseded: int = 0, lost: int = 0, from_seq: int = 0, to_seq: int = 0) -> Message:
    code = "EVENTS_LOST" if lost else "EVENTS_SUPERSEDED"
    return bare(
        "connection_error",
        client_id="c1",
        reason="behind",
        error_code=code,
        superseded=superseded,
        lost=lost,
        from_seq=from_seq,
        to_seq=to_seq,
        timestamp=1.5,
    )


def history(*messages: Message) -> list[tuple[float, Message]]:
    return [(float(index), message) for index, message in enumerate(messages)]


def rules(violations: list[Violation]) -> set[str]:
    return {violation.rule for violation in violations}


STALE: dict[str, Any] = {"stale": True, "error_code": "RPC_DISCONNECT", "last_update": NOW}

# ---- rules about single messages

GOOD_MESSAGES = {
    "log": log(1),
    "fresh state": system(1),
    "fresh state with nulls": system(1, error_code=None, last_update=None),
    "stale state": system(1, **STALE),
    "number unknown": system(1, uptime=None, load_average=[]),
    "load averages": system(1, load_average=[0.5, 1, 2]),
    "snapshot": snap(system(1)),
    "stale by the gateway": bare("system.status", **STALE | {"error_code": "BRIDGE_DISCONNECT"}),
    "rpc_error by the gateway": bare("rpc_error", error_code="BRIDGE_DISCONNECT", reason="rpc_disconnect"),
    "pong": bare("pong"),
    "free data": {"type": "agent.task_completed", "timestamp": NOW, "seq": 3, "data": {"anything": ["goes", "1"]}},
    "own state": {"type": "own.state", "timestamp": NOW, "seq": 3, "data": {"stale": False}},
    "no fraction": log(1) | {"timestamp": "2026-01-02T03:04:05Z"},
    "extra key": log(1) | {"more": 1},
    "heartbeat": bare("heartbeat", server_time=1.5, epoch="e", seq=4, bridge_connected=True, freshness={"a": 0.5}),
}


@pytest.mark.parametrize("message", GOOD_MESSAGES.values(), ids=GOOD_MESSAGES)
def test_good_message_passes(message: Message) -> None:
    """Near misses: everything that the contract allows."""
    types = [*DEFAULT_TYPES, "agent.*", "own.*"]
    assert judge.check(history(welcome(types=types), message)) == []


BAD_MESSAGES = {
    "malformed": {"malformed": "{"},
    "no type": {"timestamp": NOW, "data": {}},
    "bad type": log(1) | {"type": "System.Status"},
    "long type": log(1) | {"type": "a" * 129},
    "no timestamp": {"type": "pong", "data": {}},
    "timestamp not UTC": log(1) | {"timestamp": "2026-01-02T03:04:05+01:00"},
    "offset instead of Z": log(1) | {"timestamp": "2026-01-02T03:04:05+00:00"},
    "timestamp no date": log(1) | {"timestamp": "2026-13-02T03:04:05Z"},
    "timestamp a number": log(1) | {"timestamp": 1767323045},
    "no data": {"type": "pong", "timestamp": NOW},
    "data a list": bare("pong") | {"data": []},
    "seq on pong": bare("pong") | {"seq": 1},
    "seq on heartbeat": bare("heartbeat") | {"seq": 1},
    "seq on connection_error": behind() | {"seq": 1},
    "seq on a welcome": welcome() | {"seq": 1},
    "seq on stale by the gateway": system(1, **STALE | {"error_code": "BRIDGE_DISCONNECT"}),
    "no seq on a log event": {key: value for key, value in log(1).items() if key != "seq"},
    "no seq on a state": {key: value for key, value in system(1).items() if key != "seq"},
    "seq zero": log(0),
    "seq a string": log(1) | {"seq": "1"},
    "seq a bool": log(1) | {"seq": True},
    "snapshot false": system(1) | {"snapshot": False},
    "snapshot without seq": bare("pong") | {"snapshot": True},
    "number as string": system(1, uptime="12"),
    "number as bool": system(1, uptime=True),
    "list of strings": system(1, load_average=["0.5"]),
    "deep number as string": bare("storage.update", stale=False, pools=[{"name": "a", "size": "12"}]) | {"seq": 1},
    "job's number as string": bare("compression.update", stale=False, jobs=[{"progress": "1"}]) | {"seq": 1},
    "agent's number as string": bare("agent.status", stale=False, agents={"a": {"success_rate": "1"}}) | {"seq": 1},
    "welcome without client": welcome() | {"data": welcome()["data"] | {"client_id": 3}},
    "welcome unsorted": welcome() | {"data": welcome()["data"] | {"subscriptions": ["b", "a"]}},
    "welcome recovered unasked": welcome(recovered=True),
    "welcome recovered with losses": resumed(lost=1),
    "welcome without counts": welcome(lost=None),
}


@pytest.mark.parametrize("message", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_misshapen_message_is_found(message: Message) -> None:
    """Exactly the bad message is named, by the rule of shape."""
    violations = judge.shape(history(welcome(), message))
    assert rules(violations) == {"shape"}
    assert {violation.index for violation in violations} == {1}


@pytest.mark.parametrize(
    "data",
    [
        {"stale": None},
        {"stale": "false"},
        {"stale": True},
        {"stale": True, "error_code": "RPC_DISCONNECT"},
        {"stale": True, "last_update": NOW},
        {"stale": True, "error_code": "SOMETHING", "last_update": NOW},
        {"stale": True, "error_code": "RPC_DISCONNECT", "last_update": 1767323045},
        {"stale": False, "error_code": "RPC_DISCONNECT"},
        {"stale": False, "last_update": NOW},
        {"stale": False, "error_code": ""},
    ],
)
def test_misfresh_state_is_found(data: Message) -> None:
    """A state that does not say whether it is stale, or says it by half."""
    assert rules(judge.fresh_or_marked(history(welcome(), system(1, **data)))) == {"fresh_or_marked"}


def test_missing_freshness_is_found() -> None:
    """Each core state must say it; free data need not."""
    for kind in ("system.status", "storage.update", "agent.status", "compression.update"):
        assert judge.fresh_or_marked(history(bare(kind) | {"seq": 1}))
    assert judge.fresh_or_marked(history(bare("own.log") | {"seq": 1}, log(2))) == []


def test_first_message_must_be_a_welcome() -> None:
    """Not a log event, nor the warning of another epoch; nothing at all is allowed."""
    assert judge.welcome_first([]) == []
    assert judge.welcome_first(history(welcome())) == []
    for first in (log(1), bare("pong"), welcome(level="warning")):
        assert rules(judge.welcome_first(history(first))) == {"welcome_first"}


@pytest.mark.parametrize(
    ("code", "reason", "is_allowed"),
    [
        (1000, "", True),
        (1001, '{"retry_after_ms": 250}', True),
        (1012, "restarting, retry_after_ms=250", True),
        (1012, "restarting", False),
        (1001, "retry_after_ms", False),
        (1003, "", True),
        (1005, "", False),
        (1006, "", False),
        (1008, "", False),
        (1011, "", True),
        (1013, "", True),
        (4408, "did not read", True),
        (4409, "", False),
        (4500, "x" * 123, True),
        (4500, "x" * 124, False),
        (4502, "", False),
        (65535, "", False),
    ],
)
def test_close_code_is_documented(code: int, reason: str, is_allowed: bool) -> None:
    """Only codes of the contract; one that sends the client away for now says for how long."""
    assert (judge.close(code, reason) == []) is is_allowed


# ---- rules about order


def test_order_is_judged_among_live_events_of_one_epoch() -> None:
    """Snapshots and other epochs stand apart; a step back does not pass, nor one behind the welcome's position."""
    assert judge.ordered(history(welcome(seq=1), log(2), snap(system(1)), log(4))) == []
    assert judge.ordered(history(welcome(), log(5), welcome("f", 0, level="warning"), log(1))) == []
    assert judge.ordered(history(welcome(), log(2), resumed(seq=9), log(3))) == []
    assert rules(judge.ordered(history(welcome(), log(2), log(4), log(3)))) == {"ordered"}
    assert rules(judge.ordered(history(welcome(), log(4), resumed(seq=9), log(3)))) == {"ordered"}
    assert rules(judge.ordered(history(welcome(seq=5), log(4)))) == {"ordered"}


def test_no_live_event_comes_twice() -> None:
    """Not even over a resumed connection; the same number in another epoch, or in a snapshot, is another thing."""
    assert judge.unique(history(welcome(), log(2), welcome("f", 0), log(2), snap(system(2)))) == []
    assert [violation.index for violation in judge.unique(history(welcome(), log(2), log(2)))] == [2]
    assert [violation.index for violation in judge.unique(history(welcome(), log(2), resumed(seq=2), log(2)))] == [3]


def test_events_need_a_subscription_at_that_moment() -> None:
    """Types, patterns, and acknowledgements in between; answers and what concerns the client itself need none."""
    asked = welcome(types=["agent.*", "system.status"])
    own = {"type": "agent.status.deep", "timestamp": NOW, "seq": 3, "data": {}}
    assert judge.subscribed_only(history(asked, system(1), own, bare("pong"), behind(), bare("error"))) == []
    assert rules(judge.subscribed_only(history(asked, log(1)))) == {"subscribed_only"}
    assert rules(judge.subscribed_only(history(asked, own | {"type": "agent"}))) == {"subscribed_only"}
    assert rules(judge.subscribed_only(history(asked, bare("heartbeat")))) == {"subscribed_only"}
    dropped = bare("connection_error", reason="buffer_full", client_id="c2")
    assert rules(judge.subscribed_only(history(asked, dropped))) == {"subscribed_only"}
    added = bare("subscribe", subscriptions=["*"])
    assert judge.subscribed_only(history(asked, added, log(1), bare("heartbeat"))) == []
    removed = bare("unsubscribe", subscriptions=[])
    assert [item.index for item in judge.subscribed_only(history(asked, system(1), removed, system(2)))] == [3]


# ---- gapless or told

FULL = history(welcome(), system(1), log(2), job(3, "a"), system(4), log(5), system(6), log(7), job(8, "a"), log(9))


def missing(*messages: Message, **options: Any) -> list[str]:
    """What `gapless` finds against FULL."""
    violations = judge.gapless(history(*messages), FULL, **options)
    assert rules(violations) <= {"gapless"}
    return [violation.what for violation in violations]


def live(*seqs: int) -> list[Message]:
    return [message for _, message in FULL if message.get("seq") in seqs]


def test_complete_history_is_gapless() -> None:
    """Everything, or everything from where it began, up to its last event."""
    assert missing(*[message for _, message in FULL]) == []
    assert missing(welcome(seq=4), *live(5, 6, 7, 8, 9)) == []
    assert missing(welcome(seq=4), *live(5, 6)) == []
    assert missing(resumed(seq=9), *live(5, 6, 7, 8, 9), start=Position("e", 4)) == []


def test_silent_gap_is_found() -> None:
    """A log event or a state event that is missing in the middle, or before the end that is demanded."""
    assert missing(welcome(), *live(1, 2, 3, 4, 6, 7, 8, 9)) == [
        "log event notification e.5 is missing and was not told"
    ]
    assert missing(welcome(), *live(1, 2, 3, 5, 6, 7, 8, 9)) == [
        "state event system.status e.4 is missing and was not told"
    ]
    assert len(missing(welcome(), *live(1, 2, 3), until=Position("e", 9))) == 6
    assert len(missing(resumed(seq=9), *live(6, 7), start=Position("e", 4))) == 1


def test_client_that_was_cut_while_behind_need_not_be_told_what_was_superseded() -> None:
    """Where it may have been: a state that came again later, before a connection that was followed by another."""
    cut = [welcome(), *live(1, 2, 3, 5, 6), resumed(seq=9), *live(7, 8, 9)]
    assert missing(*cut) == ["state event system.status e.4 is missing and was not told"]
    assert missing(*cut, cut_short=True) == []
    uncut = [welcome(), *live(1, 2, 3, 5, 6, 7, 8, 9)]
    assert len(missing(*uncut, cut_short=True)) == 1
    told_in_between = [welcome(), *live(1, 2, 3, 5), behind(0, 0, 3, 5), *live(6), resumed(seq=9), *live(7, 8, 9)]
    assert len(missing(*told_in_between, cut_short=True)) == 1
    a_log_event = [welcome(), *live(1, 2, 3, 4, 6), resumed(seq=9), *live(7, 8, 9)]
    assert len(missing(*a_log_event, cut_short=True)) == 1
    the_latest = [welcome(), *live(1, 2, 3, 4, 5, 7), resumed(seq=9), *live(8, 9)]
    assert len(missing(*the_latest, cut_short=True)) == 1


def test_resumed_connection_continues_the_debt() -> None:
    """Nothing may be missing between two connections, unless the client did not ask to resume."""
    assert missing(welcome(), *live(1, 2, 3), resumed(seq=9), *live(4, 5, 6, 7)) == []
    assert len(missing(welcome(), *live(1, 2, 3), resumed(seq=9), *live(6, 7))) == 2
    assert missing(welcome(), *live(1, 2, 3), welcome(seq=5), *live(6, 7)) == []
    assert missing(welcome(), *live(1), welcome("f", 0, requested=True)) == []


def test_told_loss_excuses_as_many_as_were_told() -> None:
    """Counts add up: in a resumed welcome, or in a connection_error; within the window that was told only."""
    refused: dict[str, Any] = {"recovered": False, "superseded": 1}
    assert missing(welcome(), *live(1, 2, 3), resumed(seq=5, lost=1, **refused), *live(6, 7)) == []
    assert len(missing(welcome(), *live(1, 2, 3), resumed(seq=5, lost=0, **refused), *live(6, 7))) == 1
    assert len(missing(welcome(), *live(1, 2, 3), resumed(seq=7, lost=1, **refused), *live(8, 9))) == 3
    # a notice that leaves the client where it stood speaks of what comes after it
    assert missing(welcome(), *live(1, 2, 3), resumed(seq=3, lost=1, **refused), *live(6, 7)) == []
    assert len(missing(welcome(), *live(1, 2, 3), resumed(seq=3, lost=1, **refused), *live(8, 9))) == 3
    told = behind(superseded=1, lost=1, from_seq=3, to_seq=5)
    assert missing(welcome(), *live(1, 2, 3), told, *live(6, 7)) == []
    assert len(missing(welcome(), *live(1, 2, 3), told, *live(7, 8, 9))) == 2
    assert len(missing(welcome(), *live(1, 2), told, *live(6, 7))) == 1


def test_new_journal_is_told_with_what_is_missing_of_it() -> None:
    """In an outage no snapshot follows: the counts of the notice, which stands before all of it, are all there is."""
    counts: dict[str, Any] = {"level": "warning", "replayed": 6}
    assert missing(welcome("d"), welcome(superseded=2, **counts), *live(1, 2, 5, 6, 7, 8)) == []
    assert len(missing(welcome("d"), welcome(superseded=1, **counts), *live(1, 2, 5, 6, 7, 8))) == 1
    assert len(missing(welcome("d"), welcome(superseded=2, **counts), *live(1, 2, 5, 6, 7))) == 1
    assert missing(welcome("d"), welcome(superseded=2, **counts), *live(1, 2, 6, 7, 8)) == [
        "log event notification e.5 is missing and was not told"
    ]


def test_later_state_may_have_been_lost_with_the_journal() -> None:
    """A client that was cut off amid what it had missed, and found another journal when it came back."""
    cut = [welcome(), *live(1, 2), resumed(seq=9, superseded=2)]
    assert missing(*cut, *live(5, 6, 7), welcome("f", 3)) == []
    assert len(missing(*cut, *live(5, 6, 7))) == 1
    came_further = missing(*cut, *live(5, 6, 7, 9), welcome("f", 3))
    assert "compression.update e.3 was the latest of its state, and nothing later came" in came_further


def test_superseded_state_needs_a_later_one() -> None:
    """A count alone is not enough: the latest of each state must have come."""
    told = behind(superseded=2, from_seq=2, to_seq=6)
    assert missing(welcome(), *live(1, 2), told, *live(5, 6, 7, 8)) == []
    assert missing(welcome(), *live(1, 2), told, *live(5, 6, 7)) == [
        "compression.update e.3 was the latest of its state, and nothing later came"
    ]


def test_snapshot_excuses_states_but_no_log_events() -> None:
    """After a position that could not be recovered the snapshot stands for the states before it."""
    again = resumed(seq=7, recovered=False, lost=2)
    snapshot = [snap(message) for message in live(3, 6)]
    assert missing(welcome(), *live(1, 2), again, *snapshot, *live(8, 9)) == []
    assert len(missing(welcome(), *live(1, 2), resumed(seq=7, recovered=False), *snapshot, *live(8, 9))) == 2


def test_only_subscribed_types_are_owed() -> None:
    """From the subscription on, as far as it can be known; never after unsubscribing."""
    only = welcome(types=["system.status"])
    assert missing(only, *live(1, 4, 6), until=Position("e", 9)) == []
    added = bare("subscribe", subscriptions=["notification", "system.status"])
    assert missing(only, *live(1), added, *live(4, 5, 6, 7)) == []
    assert len(missing(only, *live(1), added, *live(4, 6, 7))) == 1
    removed = bare("unsubscribe", subscriptions=["notification"])
    assert missing(welcome(), *live(1, 2, 3), removed, *live(5, 7, 9)) == []
    assert missing(welcome(types=[]), added, *live(6, 7, 9)) == [], "no subscriptions are not the default ones"
    more = bare("subscribe", subscriptions=["agent.*", "notification", "system.status"])
    assert missing(only, *live(1), added, more, *live(4, 5, 6, 7, 9)) == [], "nobody knows since when the first held"
    assert len(missing(only, *live(1), added, more, *live(4, 6, 7, 9))) == 1


def test_published_labels_come_once_in_order_or_are_told() -> None:
    """Judged by what an engine published, where no reference client was there."""
    published = [f"n={number}" for number in range(1, 5)]
    everything = [log(seq) for seq in range(1, 5)]
    assert judge.published_once(history(welcome(), *everything), published) == []
    assert rules(judge.published_once(history(welcome(), *everything[1:]), published)) == {"published_once"}
    assert judge.published_once(history(resumed(recovered=False, lost=1), *everything[1:]), published) == []
    assert judge.published_once(history(behind(lost=1), *everything[1:]), published) == []
    twice = [*everything, log(5, "n=4")]
    assert len(judge.published_once(history(welcome(), *twice), published)) == 2
    swapped = [log(1), log(2, "n=3"), log(3, "n=2"), log(4)]
    assert len(judge.published_once(history(welcome(), *swapped), published)) == 1
    stranger = [*everything, log(5, "n=99")]
    assert len(judge.published_once(history(welcome(), *stranger), published)) == 1


def test_told_counts_are_summed_where_they_stand() -> None:
    """In welcomes and in what a client behind is told; not in what is told of others."""
    other = bare("connection_error", reason="buffer_full", lost=9, superseded=9)
    told = history(resumed(lost=1, superseded=2, recovered=False), behind(lost=3, superseded=4), other, log(1))
    assert (judge.told_lost(told), judge.told_superseded(told)) == (4, 6)


# ---- snapshots


def test_snapshot_equals_the_fold_of_a_full_history() -> None:
    """The latest of each state at the welcome's position, with the same data; later events do not matter."""
    at_five = [welcome(seq=5), snap(job(3, "a")), snap(system(4))]
    assert judge.snapshot_equals_fold(history(*at_five, log(7)), FULL) == []
    assert judge.snapshot_equals_fold(history(welcome(seq=5, types=["system.*"]), snap(system(4))), FULL) == []
    broken = {
        "missing": [welcome(seq=5), snap(system(4))],
        "old": [welcome(seq=5), snap(job(3, "a")), snap(system(1))],
        "other data": [welcome(seq=5), snap(job(3, "a")), snap(system(4, value=9))],
        "too much": [*at_five, snap(job(2, "b"))],
        "no welcome": [snap(job(3, "a")), snap(system(4))],
        "not marked": [welcome(seq=5), job(3, "a"), system(4)],
    }
    for messages in broken.values():
        assert rules(judge.snapshot_equals_fold(history(*messages), FULL)) == {"snapshot_equals_fold"}
    forgotten = judge.snapshot_equals_fold(history(*broken["missing"]), FULL, except_keys={("compression.update", "a")})
    assert forgotten == []


def test_fold_keeps_the_latest_of_each_state() -> None:
    """By type and job; jobs and their queue differ; another epoch starts anew."""
    queue = bare("compression.update", jobs=[], stale=False) | {"seq": 10}
    keys = {key: message["seq"] for key, message in judge.fold([*FULL, *history(queue)]).items()}
    assert keys == {
        ("system.status", "current"): 6,
        ("compression.update", "a"): 8,
        ("compression.update", "queue"): 10,
    }
    assert judge.fold(FULL, through=Position("e", 1))[("system.status", "current")]["seq"] == 1
    assert judge.fold([*FULL, *history(welcome("f", 0, level="warning"))]) == {}


# ---- whole histories, mutated


def simulated(rng: random.Random) -> tuple[list[tuple[float, Message]], list[tuple[float, Message]]]:
    """A full history, and a correct one of a client that was away, and behind, once in a while."""
    full = [welcome()]
    full += [
        rng.choice([log(seq), log(seq), system(seq, value=seq), job(seq, rng.choice("ab"), seq)])
        for seq in range(1, 41)
    ]
    client = [welcome()]
    seq = 0
    while seq < 40:
        count = min(rng.randint(1, 12), 40 - seq)
        stretch = full[seq + 1 : seq + count + 1]
        if rng.random() < 0.5:
            client += stretch
        else:
            latest = {judge.state_key(message): message["seq"] for message in stretch}
            kept = [
                message
                for message in stretch
                if (key := judge.state_key(message)) is None or latest[key] == message["seq"]
            ]
            superseded = len(stretch) - len(kept)
            if rng.random() < 0.5:
                client += [resumed(seq=seq + count, replayed=len(kept), superseded=superseded), *kept]
            else:
                client += [behind(superseded, 0, seq, seq + count), *kept]
        seq += count
    return history(*full), history(*copy.deepcopy(client))


def numbered(client: list[tuple[float, Message]]) -> list[int]:
    return [index for index, (_, message) in enumerate(client) if "seq" in message]


@settings(deadline=None)  # other work on the machine is no failure
@given(st.randoms(use_true_random=False))
def test_correct_history_passes(rng: random.Random) -> None:
    """Whatever a correct system did, no rule complains."""
    full, client = simulated(rng)
    assert judge.check(client, reference=full, until=Position("e", 40), closed=(1000, "")) == []


@settings(deadline=None)  # other work on the machine is no failure
@given(st.randoms(use_true_random=False))
def test_dropped_event_is_caught(rng: random.Random) -> None:
    """Any one event that is missing beyond what was told."""
    full, client = simulated(rng)
    del client[rng.choice(numbered(client))]
    assert "gapless" in rules(judge.check(client, reference=full, until=Position("e", 40)))


@settings(deadline=None)  # other work on the machine is no failure
@given(st.randoms(use_true_random=False))
def test_duplicated_event_is_caught(rng: random.Random) -> None:
    """Any one event that comes again at any later place."""
    full, client = simulated(rng)
    index = rng.choice(numbered(client))
    client.insert(rng.randint(index + 1, len(client)), client[index])
    assert "unique" in rules(judge.check(client, reference=full))


@settings(deadline=None)  # other work on the machine is no failure
@given(st.randoms(use_true_random=False))
def test_swapped_events_are_caught(rng: random.Random) -> None:
    """Any two events that changed places."""
    full, client = simulated(rng)
    one, other = rng.sample(numbered(client), 2)
    client[one], client[other] = client[other], client[one]
    assert "ordered" in rules(judge.check(client, reference=full))


@settings(deadline=None)  # other work on the machine is no failure
@given(st.randoms(use_true_random=False))
def test_understated_count_is_caught(rng: random.Random) -> None:
    """Telling one superseded event fewer than there were."""
    full, client = simulated(rng)
    tellers = [index for index, (_, message) in enumerate(client) if judge.told_superseded([(0.0, message)]) > 0]
    if not tellers:
        return
    message = copy.deepcopy(client[rng.choice(tellers)])[1]
    at = next(index for index, entry in enumerate(client) if entry[1] == message)
    counts = message["data"].get("resume", message["data"])
    counts["superseded"] -= 1
    client[at] = (client[at][0], message)
    assert "gapless" in rules(judge.check(client, reference=full))
