"""Every kind of field in JSON, that json_format agrees where it means the same, and that this is faster."""

import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from engine_events.v1 import event_service_pb2, events_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.messages import SAMPLES, free_data, messages
from ws_gateway.translate import MAX_STRUCT_DEPTH, Translator, rfc3339, rfc3339_from_unix


def translate(message: Message) -> dict[str, Any]:
    return Translator().translate(message)


# --- fields


def test_field_names_and_order_are_those_of_the_proto() -> None:
    for sample in SAMPLES.values():
        if not isinstance(sample, Struct):
            assert list(translate(sample)) == [field.name for field in sample.DESCRIPTOR.fields]


def test_unset_optional_becomes_null_and_a_zero_that_was_set_stays() -> None:
    assert translate(events_pb2.SystemStatus())["uptime"] is None
    data = translate(events_pb2.SystemStatus(uptime=0.0, memory_used=0))
    assert data["uptime"] == 0.0
    assert data["uptime"] is not None
    assert data["memory_used"] == 0
    assert data["memory_total"] is None
    assert translate(events_pb2.Agent(current_task_id=""))["current_task_id"] == ""


def test_unset_field_without_presence_is_its_zero() -> None:
    data = translate(events_pb2.AgentStatus())
    assert data == {
        "agents": {},
        "total_agents": 0,
        "active_agents": 0,
        "idle_agents": 0,
        "error_agents": 0,
        "timestamp": 0.0,
    }


def test_unset_message_becomes_null() -> None:
    assert translate(event_service_pb2.SourceStatus())["last_success"] is None
    assert translate(events_pb2.Event())["system_status"] is None


def test_largest_uint64_stays_a_number() -> None:
    data = translate(events_pb2.SystemStatus(memory_used=2**64 - 1))
    assert orjson.loads(orjson.dumps(data))["memory_used"] == 2**64 - 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_is_none_becomes_null(number: float) -> None:
    data = translate(events_pb2.SystemStatus(uptime=number, timestamp=number, load_average=[1.0, number]))
    assert data["uptime"] is None
    assert data["timestamp"] is None
    assert data["load_average"] == [1.0, None]
    assert translate(events_pb2.Heartbeat(freshness={"a.b": number, "c": 1.5}))["freshness"] == {"a.b": None, "c": 1.5}
    assert translate(free_data({"a": number, "b": [number]})) == {"a": None, "b": [None]}


@pytest.mark.parametrize(
    ("message", "field", "text"),
    [
        (events_pb2.CompressionJob(status=events_pb2.JOB_STATUS_RUNNING), "status", "running"),
        (events_pb2.CompressionJob(), "status", "unspecified"),
        (events_pb2.CompressionJob(job_type=events_pb2.JOB_TYPE_COMPRESS_FILE), "job_type", "compress_file"),
        (events_pb2.RpcError(reason=events_pb2.RPC_ERROR_REASON_RPC_DISCONNECT), "reason", "rpc_disconnect"),
        (events_pb2.RpcError(reason=events_pb2.RPC_ERROR_REASON_CIRCUIT_OPEN), "reason", "circuit_open"),
        (events_pb2.ConnectionError(reason=events_pb2.CONNECTION_ERROR_REASON_BEHIND), "reason", "behind"),
        (events_pb2.Notification(level=events_pb2.NOTIFICATION_LEVEL_WARNING), "level", "warning"),
        (event_service_pb2.SourceStatus(breaker=event_service_pb2.BREAKER_STATE_HALF_OPEN), "breaker", "half_open"),
        (events_pb2.StoragePool(state=events_pb2.POOL_STATE_ONLINE), "state", "ONLINE"),
        (events_pb2.StoragePool(), "state", "UNSPECIFIED"),
    ],
)
def test_enum_becomes_its_name_without_the_prefix(message: Message, field: str, text: str) -> None:
    assert translate(message)[field] == text


def test_unknown_enum_number_becomes_unspecified_and_is_counted() -> None:
    translator = Translator()
    job = events_pb2.CompressionJob(status=17, priority=99)  # type: ignore[arg-type]
    assert translator.translate(job)["status"] == "unspecified"
    assert translator.unknown_enum_count == 2
    pool = events_pb2.StoragePool(state=-1)  # type: ignore[arg-type]
    assert translator.translate(pool)["state"] == "UNSPECIFIED"
    assert translator.unknown_enum_count == 3
    assert translator.translate(events_pb2.CompressionJob())["status"] == "unspecified"
    assert translator.unknown_enum_count == 3


def test_map_of_messages_becomes_an_object() -> None:
    data = translate(events_pb2.AgentStatus(agents={"a": events_pb2.Agent(id="a"), "": events_pb2.Agent()}))
    assert data["agents"]["a"]["id"] == "a"
    assert data["agents"][""]["id"] == ""


def test_kinds_of_field_that_no_event_has_yet() -> None:
    """Bytes, other maps, lists of enums, recursion, names that are Python keywords, Value and ListValue."""
    kind = _unusual_message()
    message = kind(
        **{
            "raw": b"\x00\xff",
            "by_flag": {True: 1, False: 2},
            "by_number": {-5: b"x"},
            "states": [1, 0, 7],
            "None": "keyword",
            "child": {"raw": b"", "child": {"None": "deep"}},
            "beats": {"a": events_pb2.Heartbeat(freshness={"b": 1.5})},
            "any": Value(number_value=3.0),
            "list": ListValue(values=[Value(string_value="x"), Value(), Value(bool_value=True)]),
            "at": Timestamp(seconds=1),
        }
    )
    data = translate(message)
    assert data["raw"] == "AP8="
    assert data["by_flag"] == {"true": 1, "false": 2}
    assert data["by_number"] == {"-5": "eA=="}
    assert data["states"] == ["one", "unspecified", "unspecified"]
    assert data["None"] == "keyword"
    assert data["child"]["child"]["None"] == "deep"
    assert data["child"]["child"]["child"] is None
    assert data["any"] == 3
    assert data["child"]["any"] is None
    assert data["beats"]["a"]["freshness"] == {"b": 1.5}
    assert data["list"] == ["x", None, True]
    assert data["at"] == "1970-01-01T00:00:01.000Z"


# --- times


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01T00:00:00.000Z"),
        (1_767_323_045, 678_999_999, "2026-01-02T03:04:05.678Z"),
        (-1, 999_000_000, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800, 0, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999Z"),
        (-62_135_596_801, 0, None),
        (253_402_300_800, 0, None),
        (2**63 - 1, 0, None),
        (0, -1, None),
        (0, 1_000_000_000, None),
    ],
)
def test_timestamp_becomes_rfc3339_or_null(seconds: int, nanos: int, text: str | None) -> None:
    assert rfc3339(seconds, nanos) == text
    source = event_service_pb2.SourceStatus(last_success=Timestamp(seconds=seconds, nanos=nanos))
    assert translate(source)["last_success"] == text


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [
        (1_767_323_045.678, "2026-01-02T03:04:05.678Z"),
        (1_767_323_045.9999, "2026-01-02T03:04:06.000Z"),
        (-0.001, "1969-12-31T23:59:59.999Z"),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (1.7e308, None),
        (253_402_300_799.0, "9999-12-31T23:59:59.000Z"),
        (253_402_300_800.0, None),
    ],
)
def test_unix_time_becomes_rfc3339_or_null(unix_s: float, text: str | None) -> None:
    assert rfc3339_from_unix(unix_s) == text


@given(st.integers(0, 253_402_300_799_999))
def test_unix_time_keeps_its_milliseconds(unix_ms: int) -> None:
    text = rfc3339_from_unix(unix_ms / 1000)
    assert text is not None
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == unix_ms
    assert datetime.fromisoformat(text).tzinfo == UTC


# --- free data


@pytest.mark.parametrize(
    ("number", "text"),
    [(3.0, b"3"), (-0.0, b"0"), (2.0**53, b"9007199254740992"), (2.0**60, b"1.152921504606847e+18"), (0.5, b"0.5")],
)
def test_free_number_that_is_whole_is_written_as_an_integer(number: float, text: bytes) -> None:
    assert orjson.dumps(translate(free_data({"n": number}))) == b'{"n":%b}' % text


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16_383, 16_384, 70_000])
def test_free_data_of_any_length_is_read(size: int) -> None:
    """Lengths on the wire take one, two or three bytes."""
    data = {"x" * size: "y" * size, "list": ["z" * size, {"é" * size: size}], "": ["" for _ in range(size % 1000)]}
    assert translate(free_data(data)) == data


def test_free_value_of_no_kind_becomes_null() -> None:
    message = Struct(fields={"a": Value(), "b": Value(list_value=ListValue(values=[Value(), Value(number_value=1)]))})
    assert translate(message) == {"a": None, "b": [None, 1]}


def test_free_data_with_unknown_fields_is_read_without_them() -> None:
    unknown = b"\x4a\x03abc"  # field 9, three bytes
    value = b"\x1a\x01x" + unknown
    entry = b"\x0a\x01k\x12" + bytes([len(value)]) + value
    nothing_known = b"\x0a\x01n\x12" + bytes([len(unknown)]) + unknown
    data = unknown + b"".join(b"\x0a" + bytes([len(item)]) + item for item in (entry, nothing_known)) + unknown
    assert translate(Struct.FromString(data)) == {"k": "x", "n": None}


@pytest.mark.parametrize("unknown", [b"\x62\x06\x1a\x04\xff\xff\xff\xff", b"\x18\x07"])
def test_entry_of_free_data_that_holds_an_unknown_field_is_left_out(unknown: bytes) -> None:
    """The protobuf library does not know it either, and would write the peer's bytes as they came."""
    entry = b"\x0a\x01a" + unknown
    good = b"\x0a\x01b\x12\x02\x20\x01"
    data = b"".join(b"\x0a" + bytes([len(item)]) + item for item in (good, entry))
    assert translate(Struct.FromString(data)) == {"b": True}


@pytest.mark.parametrize("inner", [{}, []])
def test_free_data_too_deep_becomes_null_and_is_counted(inner: Any) -> None:
    allowed = inner
    for _ in range(MAX_STRUCT_DEPTH - 2):
        allowed = [allowed]
    translator = Translator()
    assert translator.translate(free_data({"a": allowed})) == {"a": allowed}
    assert translator.too_deep_count == 0
    text = orjson.dumps(translator.translate(free_data({"a": [allowed], "b": {"c": allowed}})))
    assert text.count(b"[null]") + text.count(b"{null}") == 2
    assert translator.too_deep_count == 2


@pytest.mark.parametrize("message", [Timestamp(), Value(), ListValue()])
def test_message_that_is_no_object_is_refused(message: Message) -> None:
    translator = Translator()
    translator.translate(_unusual_message()())  # which knows them as fields
    with pytest.raises(TypeError, match="not an object"):
        translator.translate(message)


# --- against json_format


@given(st.one_of([messages(type(sample), finite=True) for sample in SAMPLES.values()]))
def test_translation_agrees_with_json_format(message: Message) -> None:
    expected = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert _agrees(translate(message), expected)


@given(st.one_of([messages(type(sample)) for sample in SAMPLES.values()]))
def test_translation_is_always_strict_json(message: Message) -> None:
    json.loads(json.dumps(translate(message), allow_nan=False))


@pytest.mark.parametrize("name", [field.name for field in events_pb2.Event.DESCRIPTOR.oneofs_by_name["payload"].fields])
def test_translation_takes_a_third_of_the_time_of_json_format(name: str) -> None:
    """A ratio of the best of interleaved rounds, so that other work on the machine does not decide it."""
    sample, translator = SAMPLES[name], Translator()

    def ours() -> object:
        return orjson.dumps(translator.translate(sample))

    def theirs() -> object:
        return json_format.MessageToJson(sample)

    rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(12)]
    assert min(their for _, their in rounds) / min(our for our, _ in rounds) >= 3.0


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(60):
        work()
    return time.perf_counter() - start


def _agrees(ours: Any, theirs: Any) -> bool:
    """Equal, save for what we mean to do otherwise: unset is null, 64 bits are a number, enums lose their prefix."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return theirs.keys() <= ours.keys() and all(
            _agrees(value, theirs[name]) if name in theirs else value is None for name, value in ours.items()
        )
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_agrees, ours, theirs))
    if type(ours) is int and type(theirs) is str:
        return str(ours) == theirs
    return bool(ours == theirs) or (isinstance(theirs, str) and theirs.endswith(f"_{str(ours).upper()}"))


def _unusual_message() -> type[Message]:
    """A message class with every kind of field that our own protos do without."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="unusual.proto",
        package="unusual",
        syntax="proto3",
        dependency=[
            "google/protobuf/struct.proto",
            "google/protobuf/timestamp.proto",
            "engine_events/v1/events.proto",
        ],
    )
    enum = file.enum_type.add(name="ShortWord")
    enum.value.add(name="SHORT_WORD_UNSPECIFIED", number=0)
    enum.value.add(name="SHORT_WORD_ONE", number=1)
    message = file.message_type.add(name="Unusual")

    def add(name: str, kind: int, type_name: str = "", *, repeated: bool = False) -> None:
        field = message.field.add(name=name, number=len(message.field) + 1, type=kind)
        field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
        if type_name:
            field.type_name = type_name

    def add_map(name: str, key: int, value: int, type_name: str = "") -> None:
        entry_name = "".join(word.capitalize() for word in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=key, label=field_type.LABEL_OPTIONAL)
        entry.field.add(name="value", number=2, type=value, label=field_type.LABEL_OPTIONAL)
        if type_name:
            entry.field[1].type_name = type_name
        add(name, field_type.TYPE_MESSAGE, f".unusual.Unusual.{entry_name}", repeated=True)

    add("raw", field_type.TYPE_BYTES)
    add_map("by_flag", field_type.TYPE_BOOL, field_type.TYPE_INT32)
    add_map("by_number", field_type.TYPE_SINT64, field_type.TYPE_BYTES)
    add_map("beats", field_type.TYPE_STRING, field_type.TYPE_MESSAGE, ".engine_events.v1.Heartbeat")
    add("states", field_type.TYPE_ENUM, ".unusual.ShortWord", repeated=True)
    add("None", field_type.TYPE_STRING)
    add("child", field_type.TYPE_MESSAGE, ".unusual.Unusual")
    add("any", field_type.TYPE_MESSAGE, ".google.protobuf.Value")
    add("list", field_type.TYPE_MESSAGE, ".google.protobuf.ListValue")
    add("at", field_type.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("unusual.Unusual"))
