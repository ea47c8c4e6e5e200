"""One client through anything that may happen to it, judged by the rules of the contract and a model that keeps all."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventlog import Position, Replay, Topics
from tests.kit.history import (
    Entry,
    Message,
    StateKey,
    check,
    data_of,
    gapless,
    is_live,
    is_notice,
    is_snapshot,
    matches,
)
from tests.kit.record import parse
from tests.kit.stream import is_bridge_loss
from tests.ws_gateway.fakes import EPOCH_S, FakeClient, Gateway, VirtualTimeLoop, log, pass_time, state
from ws_gateway import replies
from ws_gateway.wire import WEBSOCKET

STATES = ["system.status", "agent.status", "other.state"]
LOGS = ["notification", "agent.log"]
PATTERNS = [*STATES, *LOGS, "agent.*", "rpc_error", "connection_error", "heartbeat", "*"]
STALL_S = 60.0
MAX_LOG_EVENTS = 6
SIZES = st.sampled_from([0, 0, 0, 0, 10_000, 40_000, 70_000])
PUBLISHED = st.tuples(st.sampled_from([*STATES, *LOGS]), st.sampled_from(["k", "l"]), SIZES)


def key_of(message: Message) -> StateKey | None:
    """Unlike real data, that of these tests tells its key, as its name."""
    key = data_of(message).get("name")
    return (message["type"], key) if isinstance(key, str) else None


def essence(client: FakeClient) -> list[tuple[object, ...]]:
    """What is the same for every client that wants the same. (With heartbeats they take turns.)"""
    return [
        (message["type"], message.get("seq"), message.get("snapshot"), message["data"].get("stale"))
        for message in client.messages()
        if message["type"] != "heartbeat"
    ]


def behind(*, superseded: int, lost: int, from_seq: int) -> Message:
    """What tells a client that it missed so many, anywhere after that number."""
    return parse(
        replies.connection_error_behind(
            client_id="c",
            superseded=superseded,
            lost=lost,
            from_seq=from_seq,
            to_seq=1 << 60,
            timestamp_s=EPOCH_S,
        ).decode()
    )


def with_notices_as_told(history: list[Entry]) -> list[Entry]:
    """The rules take the counts of a notice for what lay before its position. One of a new epoch stands before all that
    follows, and its counts are of that."""
    entries: list[Entry] = []
    for at_s, message in history:
        entries.append((at_s, message))
        if is_notice(message) and message["data"]["level"] == "warning":
            seq, resume = message["data"]["seq"], message["data"]["resume"]
            entries.append((at_s, behind(superseded=resume["superseded"], lost=resume["lost"], from_seq=seq)))
    return entries


@dataclass
class Connection:
    """What the model knows of the connection there is."""

    client: FakeClient
    epoch: str
    start: int
    """It is owed what comes after this number of that epoch."""
    counted: bool = True
    """Whether what is told must add up exactly: not after a change of what it wants."""


class ClientMachine(RuleBasedStateMachine):
    """A hub, one client that reads as it likes, and one that reads everything (the reference)."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.gateway = Gateway(max_log_events=MAX_LOG_EVENTS, stall_s=STALL_S, heartbeat_s=40)
        self.epoch_number = 1
        self.published: dict[str, list[tuple[int, str]]] = {"e1": []}
        """By epoch: number and type of every event; type * where the bridge itself lost one."""
        self.history: list[Entry] = []
        """What the client received over the connections it had before."""
        self.unseen = Position("", 0)
        """A client that resumes has no snapshot of what lies before its position: neither of types that it did not want
        before, nor where the last one had not come through."""
        self.before: Position | None = None
        """Where it stood when that history began."""
        self.run(self.enter)

    def run(self, action: Callable[[], object], then_s: float = 0.02) -> None:
        async def act() -> None:
            result = action()
            if asyncio.iscoroutine(result):
                await result
            await pass_time(then_s)

        self.runner.run(act())

    def enter(self) -> object:
        return self.gateway.__aenter__()

    def teardown(self) -> None:
        try:
            if hasattr(self, "now"):
                self.end_well()
        finally:
            self.run(lambda: self.gateway.__aexit__())
            self.runner.close()

    @initialize(types=st.sets(st.sampled_from(PATTERNS), min_size=1))
    def start(self, types: set[str]) -> None:
        def join() -> None:
            self.reference, *self.others = [self.gateway.join(["*"]) for _ in range(3)]
            self.now = Connection(self.gateway.join(types), "e1", 0)

        self.run(join)

    # --- what happens

    @property
    def epoch(self) -> str:
        return f"e{self.epoch_number}"

    def events(self, drawn: list[tuple[str, str, int]]) -> list[object]:
        events = []
        for type_, key, size in drawn:
            seq = (self.published[self.epoch][-1][0] if self.published[self.epoch] else 0) + 1
            self.published[self.epoch].append((seq, type_))
            fill = "x" * size
            events.append(
                state(seq, type_, key, name=key, fill=fill) if type_ in STATES else log(seq, type_, fill=fill)
            )
        return events

    @rule(drawn=st.lists(PUBLISHED, min_size=1, max_size=8), then_s=st.sampled_from([0.0, 0.02, 0.2]))
    def publish(self, drawn: list[tuple[str, str, int]], then_s: float) -> None:
        """Ends an outage, if there is one: the bridge is back with the same journal."""
        events = self.events(drawn)
        self.run(lambda: self.gateway.publish(*events), then_s)  # type: ignore[arg-type]

    @rule(lost=st.integers(1, 3))
    def bridge_loses_log_events(self, lost: int) -> None:
        head = self.published[self.epoch][-1][0] if self.published[self.epoch] else 0
        self.published[self.epoch] += [(head + 1 + number, "*") for number in range(lost)]

        def lose() -> None:
            self.gateway.mirror.lose(head, head + lost, lost)
            self.gateway.mirror.complete(head + lost)

        self.run(lose)

    @rule()
    def lose_bridge(self) -> None:
        self.run(self.gateway.lose_bridge)

    @rule()
    def recover(self) -> None:
        self.run(self.gateway.recover)

    @rule(drawn=st.lists(PUBLISHED, max_size=5))
    def new_epoch(self, drawn: list[tuple[str, str, int]]) -> None:
        self.epoch_number += 1
        self.published[self.epoch] = []
        events = self.events(drawn)
        self.run(lambda: self.gateway.new_epoch(self.epoch, *events))  # type: ignore[arg-type]

    @rule()
    def stall(self) -> None:
        self.now.client.transport.stall()

    @rule(count=st.integers(1, 200_000))
    def read(self, count: int) -> None:
        self.run(lambda: self.now.client.transport.drain(count), 0.1)

    @rule()
    def read_all(self) -> None:
        self.run(self.now.client.transport.drain, 0.1)

    @rule(by_s=st.sampled_from([0.2, 5, STALL_S + 1]))
    def wait(self, by_s: float) -> None:
        """A client that has not read anything meanwhile may have been dropped; then it comes back."""
        self.run(lambda: None, by_s)
        if self.now.client.evicted:
            self.come_back(types=None)

    @precondition(lambda self: self.is_settled())
    @rule(types=st.sets(st.sampled_from(PATTERNS), min_size=1, max_size=3))
    def subscribe(self, types: set[str]) -> None:
        self.resubscribe("subscribe", self.topics() | types)

    @precondition(lambda self: self.is_settled())
    @rule(types=st.sets(st.sampled_from(PATTERNS), min_size=1, max_size=3))
    def unsubscribe(self, types: set[str]) -> None:
        # the rules take no subscriptions at all for the default ones
        self.resubscribe("unsubscribe", self.topics() - types | {"heartbeat"})

    @rule(types=st.none() | st.sets(st.sampled_from(PATTERNS), min_size=1))
    def come_back(self, types: set[str] | None) -> None:
        """The connection breaks with whatever has not been read, and the client resumes where it stands."""
        received, unread = self.received()
        self.history += received
        if unread or self.now.client.subscriber.behind:
            # It was not told what was superseded, and gets something later instead. (What is lost is told before what
            # comes after it.)
            self.history.append((0.0, behind(superseded=1 << 60, lost=0, from_seq=0)))
        position = self.position()
        if types is not None:
            # what is owed from before is owed to other types: judged until here, and anew from here on
            self.judge([])
            self.history, self.before = [], position

        def reconnect() -> None:
            self.gateway.leave(self.now.client)
            journal = self.gateway.mirror.journal
            held = position is not None and journal.holds(position)
            start = position.seq if held and position is not None else journal.head
            client = self.gateway.join(self.topics() if types is None else types, resume=position)
            self.now = Connection(client, journal.epoch, start)
            if held and (types is not None or any(is_snapshot(message) for _, message in unread)):
                self.unseen = Position(journal.epoch, start)

        self.run(reconnect)

    # --- what must hold

    @invariant()
    def every_rule_holds(self) -> None:
        if hasattr(self, "now"):
            self.judge(self.received()[0])

    @precondition(lambda self: hasattr(self, "now") and not self.now.client.transport.buffered_bytes)
    @invariant()
    def client_that_reads_has_everything_or_knows_how_much_it_has_not(self) -> None:
        """Events that it was owed = those that came + those told superseded + those told lost, to the last one."""
        now, mirror = self.now, self.gateway.mirror
        client = now.client.subscriber
        if not now.counted or client.behind or client.view is not mirror.view:
            return  # in the end it is up to date
        if mirror.journal.since(client.cursor, client.topics) != Replay([], 0, mirror.journal.head):
            return
        if now.epoch != mirror.journal.epoch:
            now.epoch, now.start = mirror.journal.epoch, 0
        owed = sum(
            seq > now.start and (type_ == "*" or matches(self.topics(), type_))
            for seq, type_ in self.published[now.epoch]
        )
        came = told = 0
        epoch = None
        for message in now.client.messages():
            data = data_of(message)
            if is_notice(message):
                if data["epoch"] != epoch:
                    came = told = 0
                epoch = data["epoch"]
                told += data["resume"]["superseded"] + data["resume"]["lost"]
            elif is_live(message):
                came += 1
            elif message["type"] == "connection_error" and data["reason"] == "behind":
                told += data["superseded"] + data["lost"]
        assert owed == came + told

    def judge(self, received: list[Entry]) -> None:
        history = [*self.history, *received]
        broken = check(history, key_of=key_of)
        if not self.now.client.subscriber.behind:
            broken += gapless(with_notices_as_told(history), self.reference.timed(), key_of=key_of)
        assert not broken, broken

    def end_well(self) -> None:
        """Once it reads again, the client knows the latest of every state it wants, and how fresh that is."""
        self.run(self.now.client.transport.drain, 1.0)
        client, mirror = self.now.client.subscriber, self.gateway.mirror
        assert (client.view, client.behind) == (mirror.view, False)
        assert mirror.journal.since(client.cursor, client.topics).entries == []
        self.every_rule_holds()
        self.client_that_reads_has_everything_or_knows_how_much_it_has_not()
        for other in self.others:
            assert essence(other) == essence(self.reference)
        shown: dict[StateKey, Message] = {}
        marked: set[StateKey] = set()
        for _, message in [*self.history, *self.now.client.timed()]:
            if is_notice(message):
                marked.clear()  # if the bridge is still away, that is told after it
            key = key_of(message)
            if key is not None:
                shown[key] = message
                marked.discard(key)
                if is_bridge_loss(message):
                    marked.add(key)
        for entry in mirror.journal.states(client.topics):
            key = (entry.type, entry.key)
            if mirror.journal.epoch != self.unseen.epoch or entry.seq > self.unseen.seq:
                assert shown[key]["data"]["n"] == entry.seq
                assert (key in marked) is (mirror.view.outage is not None)

    # --- reading

    def topics(self) -> set[str]:
        return set(self.now.client.subscriber.topics.patterns)

    def is_settled(self) -> bool:
        """The rules cannot tell from when on the first of two changes held, if no event came between them."""
        for message in reversed(self.now.client.messages()):
            if is_live(message) or is_notice(message):
                return True
            if message["type"] in ("subscribe", "unsubscribe"):
                return False
        return True

    def resubscribe(self, kind: Literal["subscribe", "unsubscribe"], after: set[str]) -> None:
        def ask() -> None:
            client = self.now.client
            if client.evicted:
                return
            client.transport.write(WEBSOCKET.message("", replies.subscriptions_reply(kind, after, EPOCH_S)))
            self.gateway.hub.resubscribe(client.subscriber, Topics(after))
            self.now.counted = False

        self.run(ask)

    def received(self) -> tuple[list[Entry], list[Entry]]:
        """The messages that the client has read of the present connection, and those still on their way."""
        unread_bytes = self.now.client.transport.buffered_bytes
        frames = self.now.client.frames()
        read = len(frames)
        while unread_bytes > 0:
            read -= 1
            unread_bytes -= frames[read][1]
        entries: list[Entry] = [(at_s, message) for at_s, _, message in frames[:read] if message]
        unread: list[Entry] = [(at_s, message) for at_s, _, message in frames[read:] if message]
        return entries, unread

    def position(self) -> Position | None:
        """From where this client resumes: it keeps its place when a welcome says that what is left comes from there."""
        at = self.before
        epoch = ""
        for _, message in self.history:
            data = data_of(message)
            if is_notice(message):
                resume, epoch = data["resume"], data["epoch"]
                if at is None or at.epoch != epoch or not (resume["recovered"] or resume["replayed"]):
                    at = Position(epoch, data["seq"])
            elif is_live(message):
                at = Position(epoch, message["seq"])
        return at


TestClientMachine = ClientMachine.TestCase
TestClientMachine.settings = settings(max_examples=120, stateful_step_count=35, deadline=None)
