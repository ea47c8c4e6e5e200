"""Protobuf messages to test with: one true-to-life sample of each payload, and arbitrary ones for property tests."""

from typing import Any, TypeVar

from engine_events.v1 import events_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

__all__ = ["SAMPLES", "events", "free_data", "messages"]

M = TypeVar("M", bound=Message)


def free_data(members: dict[str, Any]) -> Struct:
    """The dictionary as a Struct."""
    message = Struct()
    message.update(members)
    return message


_NOW_S = 1_767_323_045.678
_JOB = events_pb2.CompressionJob(
    job_id="job-17",
    status=events_pb2.JOB_STATUS_RUNNING,
    job_type=events_pb2.JOB_TYPE_COMPRESS_FILE,
    priority=events_pb2.JOB_PRIORITY_NORMAL,
    progress=41.5,
    phase="compressing",
    bytes_processed=123_456_789,
    bytes_total=987_654_321,
    compression_ratio=2.31,
    elapsed_seconds=12.5,
    eta_seconds=17.25,
    input_path="/srv/data/archive.tar",
    output_path="/srv/data/archive.tar.zst",
    timestamp=_NOW_S,
)

SAMPLES: dict[str, Message] = {
    "system_status": events_pb2.SystemStatus(
        hostname="nas-1",
        platform="Linux 6.18",
        uptime=12_345.6,
        cpu_usage=12.5,
        memory_used=8 << 30,
        memory_total=16 << 30,
        memory_pct=50.0,
        load_average=[0.5, 0.4, 0.3],
        timestamp=_NOW_S,
    ),
    "storage_update": events_pb2.StorageUpdate(
        pools=[
            events_pb2.StoragePool(
                name=f"tank{number}",
                type="zfs",
                state=events_pb2.POOL_STATE_ONLINE,
                mount_point=f"/mnt/tank{number}",
                device="sda sdb",
                size=1 << 40,
                allocated=1 << 39,
                free=1 << 39,
                capacity_pct=50.0,
                read_errors=0,
                write_errors=0,
                checksum_errors=0,
            )
            for number in range(4)
        ],
        timestamp=_NOW_S,
    ),
    "agent_status": events_pb2.AgentStatus(
        agents={
            f"agent-{number}": events_pb2.Agent(
                id=f"agent-{number}",
                codename="Ada",
                status=events_pb2.AGENT_STATE_IDLE,
                specialization="compression",
                tier="1",
                last_active=_NOW_S,
                tasks_completed=17,
                success_rate=0.9,
                memory_usage=12.3,
                average_latency=33.1,
            )
            for number in range(8)
        },
        total_agents=8,
        idle_agents=8,
        timestamp=_NOW_S,
    ),
    "compression_job": _JOB,
    "compression_queue": events_pb2.CompressionQueue(
        jobs=[_JOB] * 3, total_running=1, total_pending=2, total_jobs=3, timestamp=_NOW_S
    ),
    "notification": events_pb2.Notification(
        message="Pool tank0 is degraded",
        level=events_pb2.NOTIFICATION_LEVEL_WARNING,
        source="storage",
        timestamp=_NOW_S,
    ),
    "rpc_error": events_pb2.RpcError(
        reason=events_pb2.RPC_ERROR_REASON_RPC_TIMEOUT,
        error_code="SYSTEM_STATUS_FAILED",
        topic="system.status",
        consecutive_failures=3,
        timestamp=_NOW_S,
    ),
    "circuit_breaker": events_pb2.CircuitBreaker(
        topic="system.status", consecutive_failures=5, retry_after_s=10, timestamp=_NOW_S
    ),
    "connection_error": events_pb2.ConnectionError(
        client_id="client-1",
        reason=events_pb2.CONNECTION_ERROR_REASON_BEHIND,
        error_code="EVENTS_LOST",
        superseded=40,
        lost=2,
        from_seq=100,
        to_seq=150,
        timestamp=_NOW_S,
    ),
    "heartbeat": events_pb2.Heartbeat(
        server_time=_NOW_S,
        epoch="0f3a",
        seq=4711,
        bridge_connected=True,
        freshness={"system.status": 0.5, "storage.update": 1.5, "agent.status": 2.5},
    ),
    "error": events_pb2.RequestError(code="INVALID_JSON", message="this is not JSON"),
    "subscriptions": events_pb2.Subscriptions(subscriptions=["agent.*", "notification", "system.status"]),
    "other": free_data(
        {
            "queue": {"depth": 12, "wait_ms": 3.5, "names": ["nightly", "weekly", "adhoc"]},
            "enabled": True,
            "ratio": 0.25,
            "title": "hello world",
            "next": None,
            "history": [1, 2, 3, 4.5],
            "workers": {"w1": {"busy": True, "load": 0.5}, "w2": {"busy": False, "load": 0.1}},
        }
    ),
}
"""By the name of the field in Event's oneof."""


def _structs(finite: bool) -> st.SearchStrategy[Struct]:
    """Free data, with names among it that the gateway uses itself."""
    numbers = st.floats(allow_nan=not finite, allow_infinity=not finite) | st.integers(-(10**17), 10**17)
    names = st.text(max_size=8) | st.sampled_from(["stale", "error_code", "last_update", "seq"])
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=200),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(names, values, max_size=4).map(free_data)


def messages(kind: type[M], *, finite: bool = False) -> st.SearchStrategy[M]:
    """Any message of this type. `finite`: without NaN, infinity and enum numbers that have no name."""
    if kind is Struct:
        return _structs(finite)  # type: ignore[return-value]
    descriptor: Any = kind.DESCRIPTOR  # typed as one of two classes, of which only one exists at a time
    return _filled(descriptor, finite).map(lambda fields: kind(**fields))


def events() -> st.SearchStrategy[events_pb2.Event]:
    """Any event whose type is a name, with any payload or none."""
    payloads: list[st.SearchStrategy[dict[str, Any]]] = [
        messages(type(sample)).map(lambda message, name=name: {name: message})  # type: ignore[misc]
        for name, sample in SAMPLES.items()
    ]
    return st.builds(
        lambda payload, **fields: events_pb2.Event(**payload, **{k: v for k, v in fields.items() if v is not None}),
        st.just({}) | st.one_of(payloads),
        seq=st.integers(0, 2**64 - 1),
        type=st.from_regex(r"[a-z0-9_]{1,8}(\.[a-z0-9_]{1,8}){0,2}", fullmatch=True),
        key=st.sampled_from(["", "current"]) | st.text(max_size=8),
        observed_at=st.none() | _timestamps(),
        published_at=st.none() | _timestamps(),
        freshness=st.none() | messages(events_pb2.Freshness),
    )


def _timestamps() -> st.SearchStrategy[Timestamp]:
    """Mostly real times; some that no calendar has."""
    seconds = st.integers(0, 4_000_000_000) | st.integers(-(2**63), 2**63 - 1)
    nanos = st.integers(0, 999_999_999) | st.integers(-(2**31), 2**31 - 1)
    return st.builds(Timestamp, seconds=seconds, nanos=nanos)


def _filled(descriptor: Descriptor, finite: bool) -> st.SearchStrategy[dict[str, Any]]:
    values = {field.name: _field(field, finite) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=values)


def _field(field: FieldDescriptor, finite: bool) -> st.SearchStrategy[Any]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = message.fields_by_name["key"], message.fields_by_name["value"]
        return st.dictionaries(_one(key, finite), _one(value, finite), max_size=3)
    return st.lists(_one(field, finite), max_size=3) if field.is_repeated else _one(field, finite)


def _one(field: FieldDescriptor, finite: bool) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return _timestamps()
        return _filled(field.message_type, finite)
    if field.enum_type is not None:
        known = st.sampled_from(sorted(field.enum_type.values_by_number))
        return known if finite else known | st.integers(0, 2**31 - 1)
    return {
        FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=not finite, allow_infinity=not finite),
        FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
        FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_STRING: st.text(max_size=12),
    }[field.type]
