"""The one stream from the bridge, over real gRPC: what is asked for, what is made of the answers, and of silence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2

from eventlog import Gap, Position
from tests.kit.certificates import Authority
from tests.kit.waiting import until
from tests.ws_gateway.fakes import ScriptedBridge, batch, log, progress, running, state, subscribed
from ws_gateway.mirror import Mirror
from ws_gateway.upstream import Upstream, _Broken, _next

QUICK: dict[str, Any] = {"backoff_first_s": 0.01, "backoff_max_s": 0.02}


@asynccontextmanager
async def reading(bridge: ScriptedBridge | str, **how: Any) -> AsyncIterator[tuple[Upstream, Mirror]]:
    """An upstream that reads from the bridge into a new mirror."""
    mirror = Mirror(max_log_events=100, max_bytes=1 << 20)
    address = bridge if isinstance(bridge, str) else bridge.address
    upstream = Upstream(address, mirror, **{**QUICK, **how})
    async with running(upstream.run()):
        yield upstream, mirror


async def at(mirror: Mirror, epoch: str, seq: int) -> None:
    await until(lambda: mirror.position == Position(epoch, seq), within_s=5, what=f"mirror at {epoch}.{seq}")


async def when(condition: Callable[[], bool], what: str) -> None:
    await until(condition, within_s=5, what=what)


@pytest.fixture
async def bridge() -> AsyncIterator[ScriptedBridge]:
    async with ScriptedBridge.open() as opened:
        yield opened


async def test_first_stream_copies_the_journal_from_its_start(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 3, replayed=2), batch(state(2), log(3)))
    async with reading(bridge) as (upstream, mirror):
        await at(mirror, "e1", 3)
        assert bridge.asked == [".0"]
        assert [entry.seq for entry in mirror.journal.since(0).entries] == [2, 3]
        assert upstream.failures == 0


async def test_copy_is_shown_when_all_that_was_announced_has_come(bridge: ScriptedBridge) -> None:
    """Not after the first of several messages: a client would be shown half of what there is."""
    async with reading(bridge) as (_, mirror):
        bridge.tell(subscribed("e1", 9, replayed=3), batch(log(1)), batch(log(2)))
        await when(lambda: bridge.say.empty(), "said")
        shown: list[Position] = []
        mirror.on_change = lambda: shown.append(mirror.position)
        bridge.tell(batch(state(9)), batch(log(10)))
        await at(mirror, "e1", 10)
        assert shown == [Position("e1", 9), Position("e1", 10)]


async def test_copy_is_complete_although_fewer_events_came_than_were_announced(bridge: ScriptedBridge) -> None:
    """States that are superseded while they are sent never come: one at or after the position will do."""
    bridge.tell(subscribed("e1", 9, replayed=5), batch(state(12)))
    async with reading(bridge) as (_, mirror):
        await at(mirror, "e1", 12)


async def test_empty_journal_is_complete_at_once(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 0))
    async with reading(bridge) as (_, mirror):
        await when(lambda: mirror.connected, "connected")
        assert mirror.position == Position("e1", 0)


async def test_progress_moves_the_position_without_an_event(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 0), progress("e1", 5))
    async with reading(bridge) as (_, mirror):
        await at(mirror, "e1", 5)


async def test_gap_is_passed_on(bridge: ScriptedBridge) -> None:
    gap = pb.SubscribeResponse(gap=pb.Gap(lost=4, from_seq=1, to_seq=7))
    bridge.tell(subscribed("e1", 1, replayed=1), batch(log(1)), gap, batch(log(8)))
    async with reading(bridge) as (_, mirror):
        await at(mirror, "e1", 8)
        answer = mirror.journal.since(1)
        assert isinstance(answer, Gap)
        assert answer.lost == 4


async def test_answers_without_content_change_nothing(bridge: ScriptedBridge) -> None:
    """A batch of none, and a kind of answer that is newer than this gateway."""
    bridge.tell(subscribed("e1", 0), pb.SubscribeResponse(batch=pb.EventBatch()), pb.SubscribeResponse(), batch(log(1)))
    async with reading(bridge) as (upstream, mirror):
        await at(mirror, "e1", 1)
        assert (upstream.failures, len(bridge.asked)) == (0, 1)


async def test_broken_stream_is_an_outage_and_resumed_after_its_position(bridge: ScriptedBridge) -> None:
    """What comes then is added; nothing is copied anew."""
    bridge.tell(subscribed("e1", 2, replayed=1), batch(log(2)), grpc.StatusCode.UNAVAILABLE)
    async with reading(bridge) as (upstream, mirror):
        await bridge.asked_times(2)
        assert bridge.asked == [".0", "e1.2"]
        assert mirror.view.outage is not None
        assert (mirror.view.outage.reason, upstream.failures) == ("rpc_disconnect", 1)
        assert mirror.position == Position("e1", 2)
        bridge.tell(subscribed("e1", 4, replayed=1, recovered=True), batch(log(4)))
        await at(mirror, "e1", 4)
        assert mirror.connected
        assert [entry.seq for entry in mirror.journal.since(0).entries] == [2, 4]
        assert upstream.failures == 0


async def test_quiet_resume_ends_the_outage_at_once(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 2, replayed=1), batch(log(2)), grpc.StatusCode.UNAVAILABLE)
    async with reading(bridge) as (_, mirror):
        await bridge.asked_times(2)
        assert not mirror.connected
        bridge.tell(subscribed("e1", 2, recovered=True))
        await when(lambda: mirror.connected, "connected")


async def test_unknown_epoch_is_copied_anew_and_shown_only_when_complete(bridge: ScriptedBridge) -> None:
    """The bridge answers a position that it does not know from its end on, so the stream is opened again from the
    start; until the copy is there, the old journal is shown, stale."""
    bridge.tell(subscribed("e1", 5, replayed=1), batch(log(5)), grpc.StatusCode.UNAVAILABLE)
    async with reading(bridge) as (_, mirror):
        await bridge.asked_times(2)
        bridge.tell(subscribed("e2", 3))
        await bridge.asked_times(3)
        assert bridge.asked[1:] == ["e1.5", ".0"]
        bridge.tell(subscribed("e2", 3, replayed=2), batch(state(1)))
        await when(lambda: bridge.say.empty(), "said")
        assert (mirror.position, mirror.connected) == (Position("e1", 5), False)
        bridge.tell(batch(log(3)))
        await at(mirror, "e2", 3)
        assert mirror.connected
        assert [entry.seq for entry in mirror.journal.since(0).entries] == [1, 3]


async def test_interrupted_copy_is_begun_anew(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 3, replayed=3), batch(log(1)), grpc.StatusCode.UNAVAILABLE)
    async with reading(bridge) as (_, mirror):
        await bridge.asked_times(2)
        assert bridge.asked == [".0", ".0"]
        bridge.tell(subscribed("e1", 3, replayed=3), batch(log(1), log(2), log(3)))
        await at(mirror, "e1", 3)
        assert [entry.seq for entry in mirror.journal.since(0).entries] == [1, 2, 3]


async def test_silent_bridge_is_broken_after_the_silence_limit(bridge: ScriptedBridge) -> None:
    """One that is frozen, with its connection up: keepalive alone would not notice."""
    bridge.tell(subscribed("e1", 0))
    async with reading(bridge, silence_s=0.2) as (_, mirror):
        await bridge.asked_times(2)
        assert bridge.asked_at_s[1] - bridge.asked_at_s[0] >= 0.2
        assert mirror.view.outage is not None
        assert mirror.view.outage.reason == "rpc_timeout"


async def test_bridge_that_speaks_within_the_silence_limit_is_not_broken(bridge: ScriptedBridge) -> None:
    bridge.tell(subscribed("e1", 0))
    async with reading(bridge, silence_s=1.0) as (_, mirror):
        for seq in range(1, 5):
            await at(mirror, "e1", seq - 1)
            asyncio.get_running_loop().call_later(0.4, bridge.tell, progress("e1", seq))
        await at(mirror, "e1", 4)
        assert len(bridge.asked) == 1


async def test_bridge_that_never_answers_is_broken_after_the_first_limit(bridge: ScriptedBridge) -> None:
    async with reading(bridge, first_s=0.1) as (upstream, mirror):
        await bridge.asked_times(3)
        assert upstream.failures >= 2
        assert mirror.view.outage is not None
        assert mirror.view.outage.failures == 1, "the view tells how the outage began"


async def test_nobody_at_the_address_is_an_outage() -> None:
    """Nothing upstream is a state that the gateway lives with."""
    async with ScriptedBridge.open() as probe:
        address = probe.address
    async with reading(address, first_s=0.2) as (_, mirror):
        await when(lambda: mirror.view.outage is not None, "outage")
        assert mirror.position == Position("", 0)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "rpc_disconnect"),
        (grpc.StatusCode.CANCELLED, "rpc_disconnect"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "rpc_timeout"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "rpc_failed"),
        (grpc.StatusCode.INTERNAL, "rpc_failed"),
        (grpc.StatusCode.UNIMPLEMENTED, "rpc_failed"),
    ],
)
async def test_status_that_ends_the_stream_is_told_by_its_reason(
    bridge: ScriptedBridge, status: grpc.StatusCode, reason: str
) -> None:
    bridge.tell(subscribed("e1", 0), status)
    async with reading(bridge, backoff_first_s=5, backoff_max_s=5) as (_, mirror):
        await when(lambda: mirror.view.outage is not None, "outage")
        assert mirror.view.outage is not None
        assert mirror.view.outage.reason == reason


async def test_bridge_behind_what_it_said_before_is_refused(bridge: ScriptedBridge) -> None:
    """Its numbers would be given out a second time, for other events."""
    bridge.tell(subscribed("e1", 5, replayed=1), batch(log(5)), grpc.StatusCode.UNAVAILABLE)
    async with reading(bridge) as (upstream, mirror):
        await bridge.asked_times(2)
        bridge.tell(subscribed("e1", 3), batch(log(4)))
        await bridge.asked_times(3)
        assert upstream.failures == 2
        assert mirror.position == Position("e1", 5)


async def test_cancelled_call_is_a_broken_stream_and_not_the_end_of_the_reader(bridge: ScriptedBridge) -> None:
    """grpc.aio raises CancelledError in whoever reads a call that something else has cancelled."""
    async with grpc.aio.insecure_channel(bridge.address) as channel:
        stub: Any = event_service_pb2_grpc.EventServiceStub(channel)
        call = stub.Subscribe(pb.SubscribeRequest(after=events_pb2.Position()))
        read = asyncio.create_task(_next(call))
        await bridge.asked_times(1)
        call.cancel()
        with pytest.raises(_Broken, match="the call was cancelled") as caught:
            await read
        assert caught.value.reason == "rpc_disconnect"


async def test_cancelling_the_reader_cancels_it(bridge: ScriptedBridge) -> None:
    """Also while it reads: stopping must not look like a break."""
    mirror = Mirror(max_log_events=100, max_bytes=1 << 20)
    upstream = Upstream(bridge.address, mirror)
    task = asyncio.create_task(upstream.run())
    bridge.tell(subscribed("e1", 0))
    await when(lambda: mirror.connected, "connected")
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (upstream.failures, mirror.connected) == (0, True)


async def test_pauses_between_attempts_are_random_up_to_a_bound_that_doubles(bridge: ScriptedBridge) -> None:
    """Full jitter: gateways that lost the same bridge do not come back at the same moment."""
    attempts = 25
    bridge.tell(*[grpc.StatusCode.UNAVAILABLE] * attempts)
    async with reading(bridge, backoff_first_s=0.02, backoff_max_s=0.1) as (upstream, _):
        await bridge.asked_times(attempts, within_s=15)
        pauses = [later - at_s for at_s, later in zip(bridge.asked_at_s, bridge.asked_at_s[1:], strict=False)]
        assert pauses[0] < 0.02 + 0.05
        assert max(pauses) < 0.1 + 0.1
        late = pauses[4:]
        assert min(late) < 0.05 < max(late), "all of twenty in one half: once in half a million"
        assert upstream.failures >= attempts - 1


async def test_bound_of_the_pauses_begins_anew_after_a_steady_stream(bridge: ScriptedBridge) -> None:
    """And only then: a bridge that answers and breaks again and again is not asked at full speed."""
    async with reading(bridge, backoff_first_s=0.001, backoff_max_s=60, steady_s=0.3, first_s=5) as (_, mirror):
        bridge.tell(*[grpc.StatusCode.UNAVAILABLE] * 8)
        await bridge.asked_times(9)
        bridge.tell(subscribed("e1", 0))
        await when(lambda: mirror.connected, "connected")
        asyncio.get_running_loop().call_later(0.4, bridge.tell, *[grpc.StatusCode.UNAVAILABLE] * 5)
        began_s = asyncio.get_running_loop().time()
        await bridge.asked_times(14)
        # five pauses from 0.001 s on are at most 0.031 s; going on from 0.256 s they would be some 4 s
        assert asyncio.get_running_loop().time() - began_s < 0.4 + 0.5


async def test_bytes_that_are_no_answer_break_the_stream() -> None:
    """A peer that is not a bridge, or a broken one."""

    async def nonsense(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    handler = grpc.method_handlers_generic_handler(
        "engine_events.v1.EventService", {"Subscribe": grpc.unary_stream_rpc_method_handler(nonsense)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with reading(f"127.0.0.1:{port}") as (upstream, mirror):
            await when(lambda: upstream.failures > 2, "several failures")
            assert mirror.view.outage is not None
            assert mirror.view.outage.reason == "rpc_failed"
    finally:
        await server.stop(None)


# --- over TLS, and over a Unix socket


async def several_failures(upstream: Upstream) -> None:
    await until(lambda: upstream.failures > 1, within_s=5, what="two failures")


async def test_bridge_that_wants_a_certificate_is_read_with_it_and_not_without(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", "gateway.example")
    async with ScriptedBridge.open(tls=authority.server(authority.issue("server"))) as bridge:
        bridge.tell(subscribed("e1", 1, replayed=1), batch(log(1)))
        for wrong in (None, authority.client(), Authority(tmp_path, "other").client(client)):
            async with reading(bridge, tls=wrong, first_s=0.3) as (upstream, mirror):
                await several_failures(upstream)
                assert not mirror.connected
        assert bridge.asked == []
        async with reading(bridge, tls=authority.client(client)) as (_, mirror):
            await at(mirror, "e1", 1)


async def test_certificate_that_was_exchanged_is_shown_when_the_bridge_is_called_again(tmp_path: Path) -> None:
    """As when the one before had expired: nothing is started anew."""
    authority = Authority(tmp_path)
    client = Authority(tmp_path, "before").issue("client")
    async with (
        ScriptedBridge.open(tls=authority.server(authority.issue("server"))) as bridge,
        reading(bridge, tls=authority.client(client), first_s=0.3) as (upstream, mirror),
    ):
        await several_failures(upstream)
        authority.write(client)
        bridge.tell(subscribed("e1", 1, replayed=1), batch(log(1)))
        await until(lambda: mirror.connected, within_s=10, what="connected")


async def test_stream_stays_when_the_certificate_is_exchanged_and_resumes_with_the_new_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", "gateway.example")
    async with ScriptedBridge.open(tls=authority.server(authority.issue("server"))) as bridge:
        bridge.tell(subscribed("e1", 1, replayed=1), batch(log(1)))
        async with reading(bridge, tls=authority.client(client)) as (upstream, mirror):
            await at(mirror, "e1", 1)
            authority.write(client)
            asyncio.get_running_loop().call_later(1.2, bridge.tell, batch(log(2)))
            await at(mirror, "e1", 2)
            assert (len(bridge.asked), upstream.failures) == (1, 0)
            bridge.tell(grpc.StatusCode.UNAVAILABLE, subscribed("e1", 2), batch(log(3)))
            await at(mirror, "e1", 3)
            assert bridge.asked == [".0", "e1.2"]


async def test_reason_why_a_bridge_is_not_reached_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Certificates that do not fit are found by nobody who is told that nothing came for 5 s."""
    authority = Authority(tmp_path)
    async with (
        ScriptedBridge.open(tls=authority.server(authority.issue("server"))) as bridge,
        reading(bridge, tls=Authority(tmp_path, "other").client(), first_s=0.3) as (upstream, _),
    ):
        await several_failures(upstream)
    lines = [line for line in capsys.readouterr().out.splitlines() if "bridge_unreachable" in line]
    assert len(lines) == 1
    assert "CERTIFICATE_VERIFY_FAILED" in lines[0]


async def test_bridge_on_a_unix_socket_is_read(tmp_path: Path) -> None:
    async with ScriptedBridge.open(f"unix:{tmp_path}/bridge.sock") as bridge:
        bridge.tell(subscribed("e1", 0))
        async with reading(f"unix:{tmp_path}/bridge.sock") as (_, mirror):
            await when(lambda: mirror.connected, "connected")
