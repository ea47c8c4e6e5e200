"""Event to JSON text to WebSocket or SSE frame, once per event: every client gets the same bytes.

The payload is translated and serialised once; each variant (snapshot, stale, SSE) is spliced around these bytes.
"""

from typing import Final, TypeAlias

import orjson
from engine_events.v1 import events_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from eventlog import is_type
from ws_gateway.errors import BadTypeNameError, EventTooLargeError
from ws_gateway.translate import Translator, rfc3339, rfc3339_from_unix

__all__ = ["BRIDGE_DISCONNECT", "MAX_FRAME_BYTES", "Encoded", "encode", "text_frame"]

BRIDGE_DISCONNECT: Final = "BRIDGE_DISCONNECT"
"""Why the gateway itself marks a state stale: it lost the bridge."""

MAX_FRAME_BYTES = 1_000_000
"""Largest live frame of one event: common clients refuse messages above 1 MiB, and the variants are a little longer."""

_FRESHNESS_NAMES = ("stale", "error_code", "last_update")
"""In the data of a state these belong to the bridge and the gateway; an engine's own of these names are left out."""

_FRESH = b'"stale":false'
_DATA = b'"data":'
_SNAPSHOT = b'"snapshot":true,'

_Time: TypeAlias = tuple[int, int]
"""Unix seconds and nanoseconds."""

_UNCOUNTED = Translator()


def text_frame(payload: bytes) -> bytes:
    """One whole text message as a server sends it: FIN, no mask (RFC 6455, 5.2). `payload` is UTF-8."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def encode(
    event: events_pb2.Event, translator: Translator = _UNCOUNTED, max_frame_bytes: int = MAX_FRAME_BYTES
) -> "Encoded":
    """Makes what is sent of one event. EventRefusedError (BadTypeNameError, EventTooLargeError): it cannot be sent.

    `translator` counts what has no JSON; by default nobody reads these counts. An event with seq 0 is not from the
    journal: its message has no seq. Without published_at the message's timestamp is null.
    """
    event_type = event.type
    if not is_type(event_type):
        raise BadTypeNameError(f"{event_type[:200]!a} is not an event type")
    kind = event.WhichOneof("payload")
    data = translator.translate(getattr(event, kind)) if kind else {}
    published_at = _time(event.published_at) if event.HasField("published_at") else None
    freshness = None
    last_good: _Time | None = None
    if event.key:
        for name in _FRESHNESS_NAMES:
            data.pop(name, None)
        last_good = _time(event.observed_at) if event.HasField("observed_at") else published_at
        freshness = _FRESH
        if event.freshness.stale:
            if event.freshness.HasField("last_update"):
                last_good = _time(event.freshness.last_update)
            freshness = _stale(event.freshness.error_code, last_good)
    encoded = Encoded(event_type, event.key, event.seq, published_at, orjson.dumps(data), freshness, last_good)
    if len(encoded.frame) > max_frame_bytes:
        raise EventTooLargeError(
            f"{event_type} {event.seq} makes {len(encoded.frame)} bytes, more than {max_frame_bytes}"
        )
    return encoded


class Encoded:
    """One event, ready to send in every form. Made by `encode`.

    The message is `{"type":…,"timestamp":…,"seq":…,"data":{…}}`, its timestamp when the bridge published it. Beside
    its own fields, the data of a state has `stale` and, when that is true, `error_code` and `last_update`.
    """

    __slots__ = (
        "_data_at",
        "_last_good",
        "_payload_end",
        "_snapshot_frame",
        "_sse",
        "frame",
        "is_state",
        "key",
        "seq",
        "stale",
        "type",
    )

    def __init__(
        self,
        type: str,
        key: str,
        seq: int,
        published_at: _Time | None,
        payload: bytes,
        freshness: bytes | None,
        last_good: _Time | None,
    ) -> None:
        """`payload`: a JSON object. `freshness`: the members to append to it; None on log events."""
        self.type = type
        self.key = key
        """Which state it replaces. Empty: a log event."""
        self.seq = seq
        """Number in the journal. 0: not from the journal."""
        self.is_state = bool(key)
        self.stale = freshness not in (None, _FRESH)
        """Whether the bridge says so. (While the bridge is away every state is stale.)"""
        head = f'{{"type":"{type}","timestamp":{_time_json(published_at)},'
        if seq:
            head += f'"seq":{seq},'
        data = payload if freshness is None else _joined(payload[:-1], freshness)
        self.frame = text_frame(head.encode() + _DATA + data + b"}")
        """The whole WebSocket frame of the live message."""
        self._data_at = len(self.frame) - len(_DATA) - len(data) - 1
        self._payload_end = self._data_at + len(_DATA) + len(payload) - 1
        self._last_good = last_good
        self._snapshot_frame: bytes | None = None
        self._sse: tuple[str, bytes] | None = None

    @property
    def size_bytes(self) -> int:
        """What one client is sent, and what the event counts for in the journal's bounds."""
        return len(self.frame)

    @property
    def json(self) -> bytes:
        """The live message by itself."""
        return self.frame[self._json_at :]

    @property
    def snapshot_frame(self) -> bytes:
        """The frame with `"snapshot":true` beside seq. Made when first asked for."""
        if self._snapshot_frame is None:
            self._snapshot_frame = text_frame(self.snapshot_json)
        return self._snapshot_frame

    @property
    def snapshot_json(self) -> bytes:
        """The message with `"snapshot":true` beside seq."""
        return self.frame[self._json_at : self._data_at] + _SNAPSHOT + self.frame[self._data_at :]

    def stale_frame(self, timestamp_s: float, error_code: str = BRIDGE_DISCONNECT) -> bytes:
        """The frame of `stale_json`. Made anew at each call."""
        return text_frame(self.stale_json(timestamp_s, error_code))

    def stale_json(self, timestamp_s: float, error_code: str = BRIDGE_DISCONNECT) -> bytes:
        """The message as the gateway itself says it while the bridge is away: stale, not from the journal.

        `timestamp_s`: now, Unix seconds. `last_update` stays what it was if the event is stale already, else it is when
        the data was observed or, if that is not known, published. ValueError: a log event, which is never stale.
        """
        if not self.is_state:
            raise ValueError("a log event has no freshness")
        head = f'{{"type":"{self.type}","timestamp":{_text_json(rfc3339_from_unix(timestamp_s))},'
        payload = self.frame[self._data_at : self._payload_end]
        return head.encode() + _joined(payload, _stale(error_code, self._last_good)) + b"}"

    def sse(self, epoch: str) -> bytes:
        """The live message as a Server-Sent Event, its id the position. The last epoch's bytes are kept."""
        if self._sse is None or self._sse[0] != epoch:
            self._sse = (epoch, self._event(self.json, epoch))
        return self._sse[1]

    def snapshot_sse(self) -> bytes:
        """The snapshot message as a Server-Sent Event, without an id: it comes out of its turn, so whoever resumed from
        there would get events twice, or miss some."""
        return f"event: {self.type}\ndata: ".encode() + self.snapshot_json + b"\n\n"

    def stale_sse(self, timestamp_s: float, error_code: str = BRIDGE_DISCONNECT) -> bytes:
        """`stale_json` as a Server-Sent Event, without an id: it is no position to resume from."""
        return f"event: {self.type}\ndata: ".encode() + self.stale_json(timestamp_s, error_code) + b"\n\n"

    def _event(self, message: bytes, epoch: str) -> bytes:
        position = f"id: {epoch}.{self.seq}\n" if self.seq else ""
        return f"{position}event: {self.type}\ndata: ".encode() + message + b"\n\n"

    @property
    def _json_at(self) -> int:
        """How long the frame's header is, which its second byte tells."""
        return {0x7E: 4, 0x7F: 10}.get(self.frame[1], 2)


def _joined(head: bytes, members: bytes) -> bytes:
    """An object from its beginning, which lacks the closing brace, and more members."""
    return head + (b"" if head.endswith(b"{") else b",") + members + b"}"


def _stale(error_code: str, last_good: _Time | None) -> bytes:
    return b'"stale":true,"error_code":%b,"last_update":%b' % (
        orjson.dumps(error_code),
        _time_json(last_good).encode(),
    )


def _time(timestamp: Timestamp) -> _Time:
    return timestamp.seconds, timestamp.nanos


def _time_json(time: _Time | None) -> str:
    return _text_json(None if time is None else rfc3339(*time))


def _text_json(text: str | None) -> str:
    """A time as JSON; it needs no escapes. None: null."""
    return "null" if text is None else f'"{text}"'
