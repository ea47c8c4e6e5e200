"""Every form in which an event is sent: strict JSON, true about freshness, in frames that decode to it."""

import json
import math
from typing import Any

import pytest
from engine_events.v1 import events_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kit.messages import SAMPLES, events, free_data
from ws_gateway.encode import Encoded, encode, text_frame
from ws_gateway.errors import BadTypeNameError, EventRefusedError, EventTooLargeError
from ws_gateway.translate import Translator

PUBLISHED, OBSERVED, FRESH = Timestamp(seconds=30, nanos=5_000_000), Timestamp(seconds=20), Timestamp(seconds=10)
PUBLISHED_TEXT, OBSERVED_TEXT = "1970-01-01T00:00:30.005Z", "1970-01-01T00:00:20.000Z"
FRESH_TEXT = "1970-01-01T00:00:10.000Z"
NOW_S, NOW_TEXT = 40.5, "1970-01-01T00:00:40.500Z"


def state(stale: bool = False, **fields: Any) -> events_pb2.Event:
    freshness = events_pb2.Freshness()
    if stale:
        freshness = events_pb2.Freshness(stale=True, error_code="RPC_DISCONNECT", last_update=FRESH)
    given: dict[str, Any] = {
        "seq": 7,
        "type": "scheduler.metrics",
        "key": "current",
        "observed_at": OBSERVED,
        "published_at": PUBLISHED,
        "freshness": freshness,
        "other": free_data({"depth": 3}),
    }
    return events_pb2.Event(**(given | fields))


def log(**fields: Any) -> events_pb2.Event:
    given: dict[str, Any] = {
        "seq": 8,
        "type": "agent.task_completed",
        "published_at": PUBLISHED,
        "other": free_data({"a": 1}),
    }
    return events_pb2.Event(**(given | fields))


def strict(text: bytes) -> dict[str, Any]:
    """JSON as a browser takes it, with every name once."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a name twice in {pairs}"
        return dict(pairs)

    message = json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    assert isinstance(message, dict)
    return message


def payload_of(frame: bytes) -> bytes:
    """What a client reads from one whole unmasked text frame (RFC 6455, 5.2)."""
    assert frame[0] == 0x81, "FIN and opcode 1"
    size, at = frame[1], 2
    assert size < 128, "no mask"
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
        assert size >= 126
    elif size == 127:
        size, at = int.from_bytes(frame[2:10], "big"), 10
        assert size >= 65536
    assert len(frame) == at + size
    return frame[at:]


def sse_of(text: bytes) -> dict[str, str]:
    """The fields of one Server-Sent Event."""
    assert text.endswith(b"\n\n")
    lines = text.decode("utf-8").removesuffix("\n\n").replace("\r", "\n").split("\n")
    return dict(line.split(": ", 1) for line in lines)


# --- frames


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_text_frame_has_the_shortest_header(size: int, header: bytes) -> None:
    assert text_frame(b"x" * size) == header + b"x" * size


@pytest.mark.parametrize("size", [0, 10, 100, 60_000, 70_000])
def test_every_variant_is_whole_at_every_header_length(size: int) -> None:
    encoded = encode(state(other=free_data({"text": "x" * size})))
    for frame in (encoded.frame, encoded.snapshot_frame, encoded.stale_frame(NOW_S)):
        assert strict(payload_of(frame))["data"]["text"] == "x" * size
    assert strict(encoded.json) == strict(payload_of(encoded.frame))


# --- messages


def test_fresh_state_says_that_it_is_not_stale() -> None:
    encoded = encode(state())
    assert encoded.json == (
        b'{"type":"scheduler.metrics","timestamp":"%b","seq":7,"data":{"depth":3,"stale":false}}'
        % PUBLISHED_TEXT.encode()
    )
    assert (encoded.type, encoded.key, encoded.seq, encoded.is_state) == ("scheduler.metrics", "current", 7, True)
    assert encoded.size_bytes == len(encoded.frame)


def test_stale_state_says_why_and_since_when() -> None:
    data = strict(encode(state(stale=True)).json)["data"]
    assert data == {"depth": 3, "stale": True, "error_code": "RPC_DISCONNECT", "last_update": FRESH_TEXT}


@pytest.mark.parametrize(
    ("without", "last_update"), [(("observed_at",), PUBLISHED_TEXT), (("observed_at", "published_at"), None)]
)
def test_stale_state_without_last_update_tells_the_next_best_time(
    without: tuple[str, ...], last_update: str | None
) -> None:
    event = state(freshness=events_pb2.Freshness(stale=True))
    assert strict(encode(event).json)["data"]["last_update"] == OBSERVED_TEXT
    for name in without:
        event.ClearField(name)  # type: ignore[arg-type]
    assert strict(encode(event).json)["data"]["last_update"] == last_update


def test_log_event_has_no_freshness() -> None:
    encoded = encode(log())
    assert not encoded.is_state
    assert strict(encoded.json) == {
        "type": "agent.task_completed",
        "timestamp": PUBLISHED_TEXT,
        "seq": 8,
        "data": {"a": 1},
    }
    with pytest.raises(ValueError, match="log event"):
        encoded.stale_frame(NOW_S)


def test_event_without_payload_has_empty_data() -> None:
    assert strict(encode(events_pb2.Event(type="a.b", seq=1)).json)["data"] == {}
    encoded = encode(events_pb2.Event(type="a.b", seq=1, key="k"))
    assert strict(encoded.json)["data"] == {"stale": False}
    assert strict(encoded.stale_json(NOW_S))["data"]["stale"] is True


def test_event_from_outside_the_journal_has_no_seq_and_no_timestamp() -> None:
    encoded = encode(events_pb2.Event(type="a.b"))
    assert strict(encoded.json) == {"type": "a.b", "timestamp": None, "data": {}}
    assert "id" not in sse_of(encoded.sse("e1"))


def test_snapshot_stands_right_after_seq() -> None:
    encoded = encode(state())
    assert b'"seq":7,"snapshot":true,"data":{' in encoded.snapshot_frame
    message = strict(payload_of(encoded.snapshot_frame))
    assert message.pop("snapshot") is True
    assert message == strict(encoded.json)
    assert encoded.snapshot_frame is encoded.snapshot_frame


def test_engine_names_that_belong_to_freshness_are_left_out_of_states_only() -> None:
    """The gateway's word about freshness is the only one, and no name comes twice."""
    forged = free_data({"stale": False, "error_code": "NONE", "last_update": "now", "depth": 3})
    assert strict(encode(state(other=forged)).json)["data"] == {"depth": 3, "stale": False}
    data = strict(encode(state(stale=True, other=forged)).json)["data"]
    assert data == {"depth": 3, "stale": True, "error_code": "RPC_DISCONNECT", "last_update": FRESH_TEXT}
    assert strict(encode(log(other=forged)).json)["data"]["error_code"] == "NONE"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_payload_is_sent_as_its_own_fields(name: str) -> None:
    event = events_pb2.Event(type="a.b", seq=1, **{name: SAMPLES[name]})  # type: ignore[arg-type]
    assert strict(encode(event).json)["data"].keys() == Translator().translate(SAMPLES[name]).keys()


def test_hostile_text_is_escaped() -> None:
    text = 'end"},"x":1}\\\n\r\x00\x1b[31m\u2028\u2029</script>\U0001f4a5'
    encoded = encode(state(stale=True, other=free_data({text: text}), freshness={"stale": True, "error_code": text}))
    assert strict(encoded.json)["data"] == {
        text: text,
        "stale": True,
        "error_code": text,
        "last_update": OBSERVED_TEXT,
    }
    assert set(sse_of(encoded.sse("e1"))) == {"id", "event", "data"}


# --- what the gateway marks stale


def test_state_marked_stale_by_the_gateway_is_no_journal_event() -> None:
    assert strict(payload_of(encode(state()).stale_frame(NOW_S))) == {
        "type": "scheduler.metrics",
        "timestamp": NOW_TEXT,
        "data": {"depth": 3, "stale": True, "error_code": "BRIDGE_DISCONNECT", "last_update": OBSERVED_TEXT},
    }


def test_state_marked_stale_keeps_the_time_when_it_was_last_fresh() -> None:
    data = strict(encode(state(stale=True)).stale_json(NOW_S, "OTHER_CODE"))["data"]
    assert data == {"depth": 3, "stale": True, "error_code": "OTHER_CODE", "last_update": FRESH_TEXT}


def test_state_marked_stale_falls_back_to_when_it_was_published() -> None:
    event = state()
    event.ClearField("observed_at")
    assert strict(encode(event).stale_json(NOW_S))["data"]["last_update"] == PUBLISHED_TEXT


# --- server-sent events


def test_sse_carries_position_type_and_message() -> None:
    encoded = encode(state())
    assert encoded.sse("e1") == b"id: e1.7\nevent: scheduler.metrics\ndata: %b\n\n" % encoded.json
    assert encoded.sse("e1") is encoded.sse("e1")
    assert sse_of(encoded.sse("e2"))["id"] == "e2.7"


def test_snapshot_sse_has_no_id() -> None:
    """It comes out of its turn: a browser that comes back with its number would get events again, or miss some."""
    encoded = encode(state())
    assert sse_of(encoded.snapshot_sse()) == {
        "event": "scheduler.metrics",
        "data": encoded.snapshot_json.decode(),
    }


def test_stale_sse_has_no_id() -> None:
    encoded = encode(state())
    assert sse_of(encoded.stale_sse(NOW_S)) == {
        "event": "scheduler.metrics",
        "data": encoded.stale_json(NOW_S).decode(),
    }


# --- refusals


@pytest.mark.parametrize("name", ["", "a b", 'a"', "A.b", "a..b", "agent.*", "*", "a\n", "x" * 129])
def test_event_with_a_malformed_type_is_refused(name: str) -> None:
    with pytest.raises(BadTypeNameError, match="not an event type") as caught:
        encode(events_pb2.Event(type=name))
    assert isinstance(caught.value, EventRefusedError)
    assert str(caught.value).isprintable()


def test_event_is_refused_above_the_bound_and_not_at_it() -> None:
    size = len(encode(log()).frame)
    assert encode(log(), max_frame_bytes=size).size_bytes == size
    with pytest.raises(EventTooLargeError, match=f"{size} bytes"):
        encode(log(), max_frame_bytes=size - 1)
    with pytest.raises(EventTooLargeError):
        encode(log(other=free_data({"text": "\x01" * 200_000})))


def test_translator_given_counts_what_has_no_json() -> None:
    translator = Translator()
    encode(log(compression_job={"status": 77}), translator)
    assert translator.unknown_enum_count == 1


# --- any event


@given(events(), st.floats(), st.text(max_size=20))
@example(events_pb2.Event(type="a", key="k", system_status=events_pb2.SystemStatus(uptime=math.nan)), 1.7e308, "")
def test_any_event_makes_strict_json_in_every_variant(
    event: events_pb2.Event, timestamp_s: float, error_code: str
) -> None:
    encoded = encode(event)
    live = strict(payload_of(encoded.frame))
    snapshot = strict(payload_of(encoded.snapshot_frame))
    assert list(live) == ["type", "timestamp", *(["seq"] if event.seq else []), "data"]
    assert live == {name: value for name, value in snapshot.items() if name != "snapshot"}
    assert live["type"] == event.type
    assert live.get("seq", 0) == event.seq
    assert strict(sse_of(encoded.sse("e"))["data"].encode()) == live
    assert strict(sse_of(encoded.snapshot_sse())["data"].encode()) == snapshot
    if not encoded.is_state:
        return
    assert live["data"]["stale"] is event.freshness.stale
    assert ("error_code" in live["data"], "last_update" in live["data"]) == (event.freshness.stale,) * 2
    check_stale(encoded, live, timestamp_s, error_code)


def check_stale(encoded: Encoded, live: dict[str, Any], timestamp_s: float, error_code: str) -> None:
    """The gateway's own stale message differs from the live one in nothing but freshness and position."""
    stale = strict(payload_of(encoded.stale_frame(timestamp_s, error_code)))
    assert strict(sse_of(encoded.stale_sse(timestamp_s, error_code))["data"].encode()) == stale
    assert list(stale) == ["type", "timestamp", "data"]
    assert stale["data"]["stale"] is True
    assert stale["data"]["error_code"] == error_code
    if live["data"]["stale"]:
        assert stale["data"]["last_update"] == live["data"]["last_update"]
    told = {"stale", "error_code", "last_update"}
    assert {k: v for k, v in stale["data"].items() if k not in told} == {
        k: v for k, v in live["data"].items() if k not in told
    }
