"""Every target by its name, with samples to begin from."""

from collections.abc import Callable, Mapping, Sequence

from engine_events.v1 import events_pb2

from tests.fuzz import event, forwarded, jsonrpc, origin, position, request, token

__all__ = ["TARGETS"]

Target = Callable[[bytes], None]

_SYSTEM = events_pb2.Event(type="system.status", key="current", system_status=events_pb2.SystemStatus(uptime=1.5))
_OTHER = events_pb2.Event(type="scheduler.metrics", seq=7)
_OTHER.other.update({"a": {"b": [1, None, "c", True]}})

TARGETS: Mapping[str, tuple[Target, Sequence[bytes]]] = {
    "request": (
        request.target,
        [
            b'{"type":"subscribe","data":{"types":["agent.*"]},"id":1}',
            b'{"type":"auth","data":{"token":"t"}}',
            b'{"type":"ping","id":"\\ud800"}',
        ],
    ),
    "position": (position.target, [b"7c1f0a9be2d4\x0031\x00agent.*,system.status\x000", b"7c1f0a9be2d4.31"]),
    "origin": (
        origin.target,
        [b"localhost:12080\0http://localhost:12080", b"[::1]\0http://[::1]", b"evil.local.\0null"],
    ),
    "forwarded": (forwarded.target, [b"203.0.113.9, 10.0.0.2", b"fd00::1,::ffff:10.0.0.1"]),
    "token": (token.target, [b'{"sub":"me","exp":9999999999,"topics":["*"]}', b"eyJhbGciOiJub25lIn0.e30."]),
    "jsonrpc": (
        jsonrpc.target,
        [
            b'{"hostname":"h","memory_usage":{"used":1,"total":2},"load_average":{"load1":1}}',
            b'{"pools":[{"name":"p","state":"ONLINE","size":1}]}',
            b'[{"agent_id":"a","status":"idle","last_active":"2026-01-02T03:04:05Z"}]',
            b'{"jobs":[{"job_id":"j","status":"running","progress":1}],"total_jobs":1}',
        ],
    ),
    "event": (event.target, [_SYSTEM.SerializeToString(), _OTHER.SerializeToString()]),
}
