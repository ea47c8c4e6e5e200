"""What the gateway says to browsers by itself: one builder for each message, which is the wire document.

Pure: no socket, no loop, no clock. In all of them `timestamp_s` is now, Unix seconds, and `request_id` is what the
answered request carried, if anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from ws_gateway.protocol import Code, RequestId
from ws_gateway.translate import rfc3339_from_unix

__all__ = [
    "Level",
    "Resume",
    "connection_error_behind",
    "connection_error_dropped",
    "error",
    "heartbeat",
    "pong",
    "rpc_error_bridge_disconnect",
    "subscriptions_reply",
    "welcome",
]

Level: TypeAlias = Literal["info", "warning", "error"]
"""How serious a notification is."""


@dataclass(frozen=True, slots=True)
class Resume:
    """How resuming went."""

    requested: bool = False
    """The client gave a position."""
    recovered: bool = False
    """Everything after it follows, save what was superseded; False: a snapshot follows, if it is wanted."""
    replayed: int = 0
    """Events that follow because of it."""
    superseded: int = 0
    """State events that later ones replaced meanwhile."""
    lost: int = 0
    """Log events that are gone."""


def welcome(
    *,
    client_id: str,
    subscriptions: Iterable[str],
    epoch: str,
    seq: int,
    resume: Resume,
    heartbeat_s: float,
    message: str,
    level: Level,
    timestamp_s: float,
) -> bytes:
    """A notification: the first message on a connection, and again when the epoch changes."""
    data = {
        "message": message,
        "level": level,
        "client_id": client_id,
        "subscriptions": sorted(subscriptions),
        "epoch": epoch,
        "seq": seq,
        "resume": {
            "requested": resume.requested,
            "recovered": resume.recovered,
            "replayed": resume.replayed,
            "superseded": resume.superseded,
            "lost": resume.lost,
        },
        "heartbeat_s": heartbeat_s,
    }
    return _message("notification", timestamp_s, data)


def pong(timestamp_s: float, request_id: RequestId | None = None) -> bytes:
    return _message("pong", timestamp_s, {}, request_id)


def subscriptions_reply(
    kind: Literal["subscribe", "unsubscribe"],
    subscriptions: Iterable[str],
    timestamp_s: float,
    request_id: RequestId | None = None,
) -> bytes:
    return _message(kind, timestamp_s, {"subscriptions": sorted(subscriptions)}, request_id)


def authenticated(expires_at_s: float | None, timestamp_s: float, request_id: RequestId | None = None) -> bytes:
    """To auth. `expires_at_s`: Unix seconds; None: never."""
    return _message("auth", timestamp_s, {"expires_at": expires_at_s}, request_id)


def error(code: Code, message: str, timestamp_s: float, request_id: RequestId | None = None) -> bytes:
    return _message("error", timestamp_s, {"code": code.value, "message": message}, request_id)


def heartbeat(
    *, server_time_s: float, epoch: str, seq: int, bridge_connected: bool, freshness_s: Mapping[str, float]
) -> bytes:
    """`freshness_s`: by topic, how long ago it was last known to be fresh."""
    data = {
        "server_time": server_time_s,
        "epoch": epoch,
        "seq": seq,
        "bridge_connected": bridge_connected,
        "freshness": dict(freshness_s),
    }
    return _message("heartbeat", server_time_s, data)


def connection_error_dropped(client_id: str, timestamp_s: float) -> bytes:
    """To the others: this client did not read and was closed."""
    data = {
        "client_id": client_id,
        "reason": "buffer_full",
        "error_code": "CONNECTION_DROP",
        "timestamp": timestamp_s,
    }
    return _message("connection_error", timestamp_s, data)


def connection_error_behind(
    *, client_id: str, superseded: int, lost: int, from_seq: int, to_seq: int, timestamp_s: float
) -> bytes:
    """To the client itself: it fell behind and has caught up; what it missed lay after `from_seq`, up to `to_seq`."""
    data = {
        "client_id": client_id,
        "reason": "behind",
        "error_code": "EVENTS_LOST" if lost else "EVENTS_SUPERSEDED",
        "superseded": superseded,
        "lost": lost,
        "from_seq": from_seq,
        "to_seq": to_seq,
        "timestamp": timestamp_s,
    }
    return _message("connection_error", timestamp_s, data)


def rpc_error_bridge_disconnect(
    consecutive_failures: int,
    timestamp_s: float,
    reason: str = "rpc_disconnect",
) -> bytes:
    """The gateway lost the bridge, or could not reach it again; `reason` is one of RpcErrorReason's names in JSON."""
    data = {
        "reason": reason,
        "error_code": "BRIDGE_DISCONNECT",
        "topic": "",
        "consecutive_failures": consecutive_failures,
        "timestamp": timestamp_s,
    }
    return _message("rpc_error", timestamp_s, data)


def _message(kind: str, timestamp_s: float, data: dict[str, Any], request_id: RequestId | None = None) -> bytes:
    message: dict[str, Any] = {"type": kind, "timestamp": rfc3339_from_unix(timestamp_s), "data": data}
    if request_id is not None:
        message["id"] = request_id
    return orjson.dumps(message)
