"""What the gateway says by itself, word for word."""

import json
from typing import Any

import pytest
from engine_events.v1 import events_pb2
from google.protobuf.message import Message

from ws_gateway import replies
from ws_gateway.protocol import Code
from ws_gateway.replies import Resume

NOW_S, NOW_TEXT = 1_767_323_045.678, "2026-01-02T03:04:05.678Z"

_BEHIND: dict[str, Any] = {"client_id": "c1", "superseded": 3, "from_seq": 10, "to_seq": 20, "timestamp_s": NOW_S}
_WELCOME: dict[str, Any] = {
    "client_id": "c1",
    "subscriptions": ["b", "a"],
    "epoch": "e1",
    "seq": 9,
    "resume": Resume(requested=True, recovered=True, replayed=4, superseded=3, lost=0),
    "heartbeat_s": 30,
    "message": "hello",
    "level": "info",
    "timestamp_s": NOW_S,
}


@pytest.mark.parametrize(
    ("reply", "kind", "data"),
    [
        (replies.pong(NOW_S), "pong", {}),
        (
            replies.subscriptions_reply("unsubscribe", ["b", "a"], NOW_S),
            "unsubscribe",
            {"subscriptions": ["a", "b"]},
        ),
        (
            replies.error(Code.RATE_LIMITED, "slowly", NOW_S),
            "error",
            {"code": "RATE_LIMITED", "message": "slowly"},
        ),
        (
            replies.heartbeat(
                server_time_s=NOW_S,
                epoch="e1",
                seq=9,
                bridge_connected=False,
                freshness_s={"a.b": 0.5, "c": float("nan")},
            ),
            "heartbeat",
            {
                "server_time": NOW_S,
                "epoch": "e1",
                "seq": 9,
                "bridge_connected": False,
                "freshness": {"a.b": 0.5, "c": None},
            },
        ),
        (
            replies.connection_error_dropped("c1", NOW_S),
            "connection_error",
            {"client_id": "c1", "reason": "buffer_full", "error_code": "CONNECTION_DROP", "timestamp": NOW_S},
        ),
        (
            replies.connection_error_behind(lost=0, **_BEHIND),
            "connection_error",
            {
                "client_id": "c1",
                "reason": "behind",
                "error_code": "EVENTS_SUPERSEDED",
                "superseded": 3,
                "lost": 0,
                "from_seq": 10,
                "to_seq": 20,
                "timestamp": NOW_S,
            },
        ),
        (
            replies.rpc_error_bridge_disconnect(2, NOW_S),
            "rpc_error",
            {
                "reason": "rpc_disconnect",
                "error_code": "BRIDGE_DISCONNECT",
                "topic": "",
                "consecutive_failures": 2,
                "timestamp": NOW_S,
            },
        ),
        (
            replies.welcome(**_WELCOME),
            "notification",
            {
                "message": "hello",
                "level": "info",
                "client_id": "c1",
                "subscriptions": ["a", "b"],
                "epoch": "e1",
                "seq": 9,
                "resume": {"requested": True, "recovered": True, "replayed": 4, "superseded": 3, "lost": 0},
                "heartbeat_s": 30,
            },
        ),
    ],
)
def test_reply_is_a_whole_message(reply: bytes, kind: str, data: dict[str, Any]) -> None:
    message = json.loads(reply)
    assert message == {"type": kind, "timestamp": NOW_TEXT, "data": data}
    assert list(message) == ["type", "timestamp", "data"]


def test_client_that_missed_log_events_is_told_that_they_are_lost() -> None:
    assert json.loads(replies.connection_error_behind(lost=1, **_BEHIND))["data"]["error_code"] == "EVENTS_LOST"


@pytest.mark.parametrize(
    "reply",
    [
        replies.pong(NOW_S, "r1"),
        replies.subscriptions_reply("subscribe", [], NOW_S, "r1"),
        replies.error(Code.UNKNOWN_TYPE, "?", NOW_S, "r1"),
    ],
)
def test_answer_carries_the_request_id_at_top_level(reply: bytes) -> None:
    assert json.loads(reply)["id"] == "r1"


def test_request_id_that_is_false_in_python_is_echoed_too() -> None:
    assert json.loads(replies.pong(NOW_S, 0))["id"] == 0
    assert json.loads(replies.pong(NOW_S, ""))["id"] == ""


@pytest.mark.parametrize(
    ("reply", "described_by"),
    [
        (replies.connection_error_dropped("c1", NOW_S), events_pb2.ConnectionError),
        (replies.connection_error_behind(lost=1, **_BEHIND), events_pb2.ConnectionError),
        (
            replies.heartbeat(server_time_s=NOW_S, epoch="e", seq=1, bridge_connected=True, freshness_s={}),
            events_pb2.Heartbeat,
        ),
        (replies.error(Code.INVALID_JSON, "?", NOW_S), events_pb2.RequestError),
        (replies.subscriptions_reply("subscribe", ["a"], NOW_S), events_pb2.Subscriptions),
        (replies.rpc_error_bridge_disconnect(1, NOW_S), events_pb2.RpcError),
    ],
)
def test_reply_data_has_the_fields_of_its_proto_message(reply: bytes, described_by: type[Message]) -> None:
    fields = described_by.DESCRIPTOR.fields
    data = json.loads(reply)["data"]
    assert data.keys() <= {field.name for field in fields}
    assert data.keys() >= {field.name for field in fields if not field.has_presence}
