"""The bad input that the gateway must answer, and how: the rows of the table in docs/SECURITY.md."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from tests.badinput import acts, engine_acts
from tests.badinput.acts import AUDIENCE, Act, Target, Tokens
from tests.kit.rawclient import Opcode, frame_bytes

__all__ = ["INPUTS", "PROMISES", "Input"]

PROMISES = (
    "origin",
    "host",
    "credentials",
    "expiry",
    "frames",
    "size",
    "binary",
    "message",
    "request",
    "rate",
    "handshake",
    "log",
    "engine",
)
"""The promises, in the order of the table; each has an input below at least."""


@dataclass(frozen=True)
class Input:
    """One kind of bad input."""

    promise: str
    name: str
    answer: str
    """What each act must give."""
    act: Act
    per_s: float = 50.0
    """Acts a second, of all hostile clients together."""
    clients: int = 10
    takes_s: float = 0.0
    """What one act takes because it waits."""
    engine: str = ""
    """What the engine does meanwhile, see engine.py; the acts then are those of a witness."""


def _jwt(key: bytes | None = None, algorithm: str = "HS256", **claims: Any) -> Tokens:
    """A token that would be good but for this. None takes a claim away."""

    def make(target: Target) -> str:
        whole = {"sub": "me", "exp": int(time.time()) + 600, "aud": AUDIENCE, "topics": ["*"]} | claims
        left = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(left, "" if algorithm == "none" else key or target.secret, algorithm)

    return make


def _one_of(*makers: Tokens) -> Tokens:
    turn = [0]

    def make(target: Target) -> str:
        turn[0] += 1
        return makers[turn[0] % len(makers)](target)

    return make


def _fragments(total: int, size: int) -> bytes:
    first = frame_bytes(b"x" * size, fin=False)
    return first + frame_bytes(b"x" * size, Opcode.CONTINUATION, fin=False) * (total // size)


_ERROR = "error {}, kept; ten: 4500"
_INVALID_JSON = _ERROR.format("INVALID_JSON")
_INVALID_MESSAGE = _ERROR.format("INVALID_MESSAGE")
_INVALID_SUBSCRIPTION = _ERROR.format("INVALID_SUBSCRIPTION")
_LARGE = 64_000
"""Just below what a message may have by default."""

_PROTOCOL_ERRORS = (
    frame_bytes("x", reserved=4),
    frame_bytes("x", 3),
    frame_bytes("x", 11),
    frame_bytes("x", Opcode.PING, fin=False),
    frame_bytes("x" * 126, Opcode.PING),
    frame_bytes("x", Opcode.CONTINUATION),
    frame_bytes("x", fin=False) + frame_bytes("y"),
    frame_bytes(b"\x03", Opcode.CLOSE),
    frame_bytes(b"\x03\xec", Opcode.CLOSE),  # 1004
)
_NOT_UTF8 = (
    frame_bytes(b"\xff"),
    frame_bytes(b"\xed\xa0\x80"),  # half a surrogate pair
    frame_bytes(b"\xce", fin=False) + frame_bytes(b"(", Opcode.CONTINUATION),
    frame_bytes(b"\x03\xe8\xff", Opcode.CLOSE),
)
_REQUEST = b"GET /ws HTTP/1.1\r\nHost: {own}\r\n"
_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",  # TLS
    b"GET /\r\n\r\n",
    b"\x00" * 64 + b"\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: {own}\r\n\r\n",
    _REQUEST + b"no colon\r\n\r\n",
    _REQUEST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    _REQUEST + b"Content-Length: -1\r\n\r\n",
    _REQUEST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: {own}\r\n\r\n",
)

INPUTS: Sequence[Input] = (
    Input("origin", "foreign Origin", "403", acts.handshake(Origin="http://evil.example")),
    Input("origin", "Origin `null`", "403", acts.handshake(Origin="null")),
    Input("origin", "look-alike Origin", "403", acts.handshake(Origin="http://{own}.evil.example")),
    Input("host", "Host not ours (DNS rebinding)", "421", acts.handshake(Host="evil.example")),
    Input("host", "two Hosts", "400", acts.garbage(_REQUEST + b"Host: evil.example\r\n\r\n")),
    Input("credentials", "none in time", "4501 within 5 s", acts.no_credentials, 200, clients=50, takes_s=5),
    Input("credentials", "wrong token", "4503 refused", acts.token_in_header(lambda _: "nonsense")),
    Input("credentials", "oversized token", "4503 refused", acts.token_first(lambda _: "x" * 60_000)),
    Input("credentials", "non-ASCII token", "4503 refused", acts.token_first(lambda _: "tökén\u2028\U0001f600")),
    Input(
        "credentials",
        "wrong algorithm (none, HS512)",
        "4503 refused",
        acts.token_in_header(_one_of(_jwt(algorithm="none"), _jwt(algorithm="HS512"))),
    ),
    Input("credentials", "wrong signature", "4503 refused", acts.token_in_header(_jwt(key=b"another secret" * 4))),
    Input("credentials", "wrong audience", "4503 refused", acts.token_in_header(_jwt(aud="another"))),
    Input("credentials", "no `exp`", "4503 refused", acts.token_in_header(_jwt(exp=None))),
    Input("credentials", "expired", "4503 refused", acts.token_in_header(_jwt(exp=1_000_000_000))),
    Input(
        "expiry",
        "token expires while connected",
        "4403 within 1 s",
        acts.expiring_token,
        10,
        clients=20,
        takes_s=2,
    ),
    Input(
        "frames", "reserved bits, opcodes, broken fragments, bad close frames", "1002", acts.frames(*_PROTOCOL_ERRORS)
    ),
    Input("frames", "not UTF-8", "1007", acts.frames(*_NOT_UTF8)),
    Input("size", "too large in one frame", "1009", acts.frames(frame_bytes("x" * 70_000))),
    Input("size", "by declared length", "1009", acts.frames(frame_bytes("", declared_length=1 << 40))),
    Input("size", "by fragments", "1009", acts.frames(_fragments(70_000, 2_000))),
    Input("binary", "binary frame", "1003", acts.frames(frame_bytes(b'{"type":"ping"}', Opcode.BINARY))),
    Input("message", "not an object", _INVALID_MESSAGE, acts.bad_message(["[]", "1", '"x"', "null"]), 10),
    Input("message", "truncated", _INVALID_JSON, acts.bad_message(['{"type":', '{"type":"pin', ""]), 10),
    Input("message", "NaN, Infinity", _INVALID_JSON, acts.bad_message(['{"id":NaN}', '{"id":-Infinity}']), 10),
    Input("message", "too deep", _INVALID_JSON, acts.bad_message(["[" * 100, "[" * _LARGE]), 10),
    Input("message", "duplicate keys", _INVALID_JSON, acts.bad_message(['{"type":"ping","type":"ping"}']), 10),
    Input(
        "message",
        "huge numbers",
        _INVALID_JSON,
        acts.bad_message(['{"id":1' + "0" * 5_000 + "}", '{"id":1e999}', '{"id":' + "9" * _LARGE + "}"]),
        10,
    ),
    Input(
        "message",
        "wrong types",
        _INVALID_MESSAGE,
        acts.bad_message(['{"type":1}', '{"type":"ping","data":[]}', '{"type":"ping","id":{}}']),
        10,
    ),
    Input(
        "message",
        "64 KiB of tiny values",
        _INVALID_JSON,
        acts.bad_message(['{"type":"ping","data":{"x":[' + "1," * (_LARGE // 2) + "1]}}"]),
        10,
    ),
    Input(
        "request",
        "bad topic",
        _INVALID_SUBSCRIPTION,
        acts.bad_message(
            [
                '{"type":"subscribe","data":{"types":["Not A Type"]}}',
                '{"type":"subscribe","data":{"types":["' + "a" * 129 + '"]}}',
                '{"type":"subscribe","data":{"types":["**"]}}',
            ]
        ),
        10,
    ),
    Input(
        "request",
        "too many subscriptions",
        "error TOO_MANY_SUBSCRIPTIONS, kept",
        acts.bad_message_then_good(
            '{"type":"subscribe","data":{"types":[' + ",".join(f'"a.t{n}"' for n in range(500)) + "]}}"
        ),
        20,
    ),
    Input(
        "request",
        "bad resume position",
        "recovered false and a snapshot",
        acts.resume({"epoch": "%F0%9F%98%80", "seq": "-1"}),
        20,
    ),
    Input(
        "request",
        "position of another epoch, or of the future",
        "recovered false and a snapshot",
        acts.resume({"epoch": "0" * 32, "seq": "18446744073709551615"}),
        20,
    ),
    Input(
        "rate",
        "more than 20 messages/s beyond 100",
        "error RATE_LIMITED, then 4429",
        acts.flood(frame_bytes('{"type":"ping"}') * 500),
        10,
    ),
    Input(
        "rate",
        "the same with ping frames",
        "4429",
        acts.flood(frame_bytes("", Opcode.PING) * 5000, warned=False),
        10,
    ),
    Input("handshake", "slow handshake", "closed within 10 s", acts.slow_handshake, 1000, clients=100, takes_s=10),
    Input("handshake", "garbage HTTP", "400", acts.garbage(*_GARBAGE)),
    Input(
        "log",
        "control characters in Host and Origin",
        "421",
        acts.handshake(Host="evil\u2028\u0085\u009b31m\tforged", Origin="\u0085forged"),
    ),
    *(
        Input("engine", name, answer, act, 0.05, clients=1, takes_s=takes_s, engine=what)
        for name, what, answer, act, takes_s in engine_acts.ROWS
    ),
)
"""All of them, in the order of the table."""
