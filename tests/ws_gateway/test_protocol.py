"""What browsers may say, and that no text at all can do more than be refused."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import MultiDict

from eventlog import Journal, Position, is_pattern
from ws_gateway import protocol, replies
from ws_gateway.protocol import (
    DEFAULT_TYPES,
    NOWHERE,
    Code,
    Limits,
    Ping,
    Query,
    Refusal,
    RequestId,
    Subscribe,
    Unsubscribe,
    parse,
    parse_last_event_id,
    parse_query,
    subscriptions_after,
)

NOW_S, NOW_TEXT = 1_767_323_045.678, "2026-01-02T03:04:05.678Z"


def code_of(text: str) -> Code:
    refusal = parse(text)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.message.isascii()
    assert refusal.message.isprintable()
    return refusal.code


# --- commands


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type":"ping"}', Ping()),
        ('{"type":"ping","data":{},"timestamp":"x","extra":[1]}', Ping()),
        (' {"type" : "ping", "id" : 7}\n', Ping(7)),
        ('{"type":"subscribe","data":{"types":["agent.*"]}}', Subscribe(("agent.*",))),
        ('{"type":"subscribe","data":{"events":["agent.*"]}}', Subscribe(("agent.*",))),
        ('{"type":"subscribe","types":["agent.*"]}', Subscribe(("agent.*",))),
        ('{"type":"subscribe","data":{},"types":["*"],"id":"a"}', Subscribe(("*",), "a")),
        ('{"type":"subscribe","data":{"types":["b","a","b"]}}', Subscribe(("b", "a"))),
        ('{"type":"subscribe","data":{"types":["a"],"events":["b"]},"types":["c"]}', Subscribe(("a", "b", "c"))),
        ('{"type":"subscribe","data":{"types":["never.published"]}}', Subscribe(("never.published",))),
        ('{"type":"unsubscribe","data":{"types":["agent.status"]},"id":1.5}', Unsubscribe(("agent.status",), 1.5)),
        (r'{"type":"p\u0069ng","id":"\ud83d\ude00"}', Ping("😀")),
    ],
)
def test_command_is_read(text: str, command: protocol.Command) -> None:
    assert parse(text) == command


@pytest.mark.parametrize("request_id", ["", "a", "x" * 128, 0, -1, 2**64 - 1, -(2**63), 1.5, 1e300])
def test_request_id_is_echoed(request_id: RequestId) -> None:
    command = parse(json.dumps({"type": "ping", "id": request_id}))
    assert isinstance(command, Ping)
    assert command.id == request_id
    assert json.loads(replies.pong(NOW_S, command.id))["id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["null", "true", "[]", "{}", '"' + "x" * 129 + '"', str(2**64), str(-(2**63) - 1)]
)
def test_request_id_of_another_kind_is_refused(request_id: str) -> None:
    refusal = parse(f'{{"type":"ping","id":{request_id}}}')
    assert isinstance(refusal, Refusal)
    assert refusal.code == Code.INVALID_MESSAGE
    assert refusal.id is None


@pytest.mark.parametrize(
    "text",
    ['{"id":"a"}', '{"id":"a","type":"x"}', '{"id":"a","type":"subscribe"}', '{"id":"a","type":"ping","data":1}'],
)
def test_refusal_carries_the_request_id(text: str) -> None:
    refusal = parse(text)
    assert isinstance(refusal, Refusal)
    assert refusal.id == "a"


# --- refusals


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"type":"ping"',
        '{"type":"ping"}x',
        "{'type':'ping'}",
        '{"type":"ping",}',
        '{"type":"pi\nng"}',
        '\ufeff{"type":"ping"}',
        '{"type":"ping","x":NaN}',
        '{"type":"ping","x":Infinity}',
        '{"type":"ping","x":-Infinity}',
        '{"type":"ping","type":"ping"}',
        '{"type":"ping","data":{"a":{"b":1,"b":1}}}',
        '{"type":"ping","x":[{"\\u0061":1,"a":1}]}',
        '{"type":"ping","id":1e999}',
        '{"type":"ping","id":-1e999}',
        '{"type":"ping","x":' + "9" * 65 + "}",
        '{"type":"ping","x":' + "9" * 5000 + "}",
        '{"type":"ping","x":0.' + "9" * 5000 + "}",
        '{"type":"ping","id":"\\ud800"}',
        '{"type":"ping","x":["\\udc00\\ud800"]}',
        '{"type":"ping","\\ud800":1}',
        '{"type":"ping","id":"\ud800"}',
        '{"type":"ping","x":' + "[" * 16 + "]" * 16 + "}",
        "[" * 17 + "]" * 17,
        "[" * 100_000,
        '{"a":' * 100_000,
        '"[' * 100_000,
        '["' + '\\"' * 50_000,
        "[" * 20 + '"' + '\\"' * 50_000,
    ],
)
def test_text_that_is_not_strict_json_is_refused(text: str) -> None:
    assert code_of(text) == Code.INVALID_JSON


@pytest.mark.parametrize("value", ["1,", "[],", '{"a":1},', '"a",'])
def test_values_are_allowed_up_to_the_limit(value: str) -> None:
    """Each costs far more than its bytes: 64 KiB of them, in one message, kept everybody waiting for 6 ms."""
    some = value * (1000 // (value.count(",") + value.count("[") + value.count("{")))
    assert parse('{"type":"ping","x":[' + some + "0]}") == Ping()
    assert code_of('{"type":"ping","x":[' + some + "0," * 100 + "0]}") == Code.INVALID_JSON


def test_depth_is_allowed_up_to_the_limit_and_brackets_in_strings_do_not_count() -> None:
    assert parse('{"type":"ping","x":' + "[" * 15 + "]" * 15 + "}") == Ping()
    assert parse('{"type":"ping","x":"' + '[{\\"' * 500 + '\\\\"}') == Ping()
    assert parse('{"type":"ping","x":[' + "[],{}," * 150 + "[]]}") == Ping()


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "null",
        '"ping"',
        "[]",
        '[{"type":"ping"}]',
        "{}",
        '{"type":null}',
        '{"type":1}',
        '{"type":["ping"]}',
        '{"type":"ping","data":[]}',
        '{"type":"ping","data":null}',
        '{"type":"subscribe","data":"agent.*"}',
    ],
)
def test_message_of_the_wrong_shape_is_refused(text: str) -> None:
    assert code_of(text) == Code.INVALID_MESSAGE


@pytest.mark.parametrize(
    "kind", ["", "Ping", "pong", "system.status", "heartbeat", "__class__", "x" * 10_000, "\\u0000"]
)
def test_unknown_type_is_refused_by_name(kind: str) -> None:
    assert code_of(f'{{"type":"{kind}"}}') == Code.UNKNOWN_TYPE
    refusal = parse(f'{{"type":"{kind}"}}')
    assert isinstance(refusal, Refusal)
    assert len(refusal.message) < 200
    assert "ping, subscribe, unsubscribe" in refusal.message


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    "types",
    [
        "null",
        '"agent.*"',
        "{}",
        "[]",
        "[1]",
        "[null]",
        '["a",["b"]]',
        '[""]',
        '["A"]',
        '["a b"]',
        '["**"]',
        '["*.a"]',
        '["a","a.*.b"]',
        '["' + "x" * 129 + '"]',
        '["\\u0000\\u001b[31m"]',
    ],
)
def test_list_of_types_that_is_wrong_is_refused(kind: str, types: str) -> None:
    for place in (
        '"types":{}',
        '"data":{{"types":{}}}',
        '"data":{{"events":{}}}',
        '"types":["ok"],"data":{{"types":{}}}',
    ):
        text = f'{{"type":"{kind}",{place.format(types)}}}'
        if types == "[]" and "ok" in place:
            continue
        assert code_of(text) == Code.INVALID_SUBSCRIPTION


@pytest.mark.parametrize("text", ['{"type":"subscribe"}', '{"type":"subscribe","data":{"type":["a"]}}'])
def test_subscription_without_types_is_refused(text: str) -> None:
    assert code_of(text) == Code.INVALID_SUBSCRIPTION


# --- any text

_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "data", "types", "events", "id"]) | st.text(max_size=4), inner, max_size=4
        )
    ),
    max_leaves=10,
)
_REQUESTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ping", "subscribe", "unsubscribe", "pong"]) | _JSON},
    optional={"data": _JSON, "types": st.lists(st.text("ab.*", max_size=4)) | _JSON, "id": _JSON},
)
_FRAGMENTS = st.lists(
    st.sampled_from(
        ['{"type":', '"subscribe"', '"ping"', ',"data":', "{", "}", "[", "]", '"', "\\", "\\ud800", ",", ":"]
    )
    | st.text(st.characters(), max_size=3),
    max_size=30,
).map("".join)


@given(_FRAGMENTS | st.text(st.characters(exclude_categories=()), max_size=40) | _REQUESTS.map(json.dumps))
@example("[" * 100_000)
def test_parse_answers_any_text(text: str) -> None:
    """It never raises, and what it gives can be sent back."""
    result = parse(text)
    assert isinstance(result, Ping | Subscribe | Unsubscribe | Refusal)
    if isinstance(result, Refusal):
        reply = json.loads(replies.error(result.code, result.message, NOW_S, result.id))
        assert reply["data"]["code"] in set(Code)
    else:
        reply = json.loads(replies.pong(NOW_S, result.id))
    assert reply.get("id") == result.id
    if isinstance(result, Subscribe | Unsubscribe):
        assert result.types
        assert all(map(is_pattern, result.types))


# --- subscriptions


def test_subscribing_adds_and_sorts() -> None:
    assert subscriptions_after(["b"], Subscribe(("c", "a", "b"))) == ("a", "b", "c")


def test_unsubscribing_takes_exactly_the_names_given() -> None:
    assert subscriptions_after(["agent.status", "agent.*", "b"], Unsubscribe(("agent.*",))) == ("agent.status", "b")
    assert subscriptions_after(["b", "a"], Unsubscribe(("unknown", "agent.*"))) == ("a", "b")
    assert subscriptions_after(["a"], Unsubscribe(("a",))) == ()


def test_too_many_subscriptions_are_those_the_client_would_have_afterwards() -> None:
    have = [f"t{number}" for number in range(63)]
    assert subscriptions_after(have, Subscribe(("t0", "t1", "new"))) == tuple(sorted([*have, "new"]))
    refusal = subscriptions_after(have, Subscribe(("new", "newer"), "id-1"))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.id) == (Code.TOO_MANY_SUBSCRIPTIONS, "id-1")
    assert subscriptions_after([*have, "x", "y"], Unsubscribe(("z",))) == tuple(sorted([*have, "x", "y"]))
    assert isinstance(subscriptions_after([], Subscribe(("a", "b")), Limits(subscriptions=1)), Refusal)


# --- the address


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Query(None, None, True)),
        ({"other": "x"}, Query(None, None, True)),
        ({"epoch": "e1", "seq": "17"}, Query(Position("e1", 17), None, True)),
        ({"epoch": "e1", "seq": "0"}, Query(Position("e1", 0), None, True)),
        ({"epoch": "", "seq": "0"}, Query(Position("", 0), None, True)),
        ({"epoch": "e1", "seq": str(2**64 - 1)}, Query(Position("e1", 2**64 - 1), None, True)),
        ({"types": "b,agent.*,b"}, Query(None, ("agent.*", "b"), True)),
        ({"types": "*", "snapshot": "0"}, Query(None, ("*",), False)),
        ({"snapshot": "1"}, Query(None, None, True)),
    ],
)
def test_query_is_read(query: dict[str, str], expected: Query) -> None:
    assert parse_query(query.items()) == expected
    assert parse_query(MultiDict(query).items()) == expected


def test_types_given_more_than_once_count_together() -> None:
    assert parse_query(MultiDict([("types", "b"), ("x", "1"), ("x", "2"), ("types", "a,b")]).items()) == Query(
        None, ("a", "b"), True
    )


@pytest.mark.parametrize("name", ["epoch", "seq", "snapshot"])
def test_what_is_given_more_than_once_and_means_one_thing_is_refused(name: str) -> None:
    refusal = parse_query(MultiDict([(name, "1"), (name, "1")]).items())
    assert isinstance(refusal, Refusal)
    assert refusal.code == Code.INVALID_MESSAGE
    assert name in refusal.message


@pytest.mark.parametrize(
    "query",
    [
        {"epoch": "e1"},
        {"seq": "17"[:0]},
        {"epoch": "e1", "seq": ""},
        {"epoch": "e1", "seq": "-1"},
        {"epoch": "e1", "seq": "+1"},
        {"epoch": "e1", "seq": " 1"},
        {"epoch": "e1", "seq": "1.0"},
        {"epoch": "e1", "seq": "1\n"},
        {"epoch": "e1", "seq": "1_0"},
        {"epoch": "e1", "seq": "٣"},
        {"epoch": "e1", "seq": str(2**64)},
        {"epoch": "e1", "seq": "9" * 5000},
    ],
)
def test_malformed_position_is_asked_for_and_held_by_no_journal(query: dict[str, str]) -> None:
    result = parse_query(query.items())
    assert isinstance(result, Query)
    assert result.resume == NOWHERE
    for epoch in ("", "e1"):
        assert not Journal[None](epoch, max_log_events=1, max_bytes=1).holds(NOWHERE)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"types": ""}, Code.INVALID_SUBSCRIPTION),
        ({"types": "a,"}, Code.INVALID_SUBSCRIPTION),
        ({"types": "a, b"}, Code.INVALID_SUBSCRIPTION),
        ({"types": "A"}, Code.INVALID_SUBSCRIPTION),
        ({"types": ",".join(f"t{n}" for n in range(65))}, Code.TOO_MANY_SUBSCRIPTIONS),
        ({"snapshot": "maybe"}, Code.INVALID_MESSAGE),
    ],
)
def test_malformed_query_is_refused(query: dict[str, str], code: Code) -> None:
    refusal = parse_query(query.items())
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("e1.17", Position("e1", 17)),
        ("a.b.17", Position("a.b", 17)),
        (".0", Position("", 0)),
        ("", NOWHERE),
        ("17", Position("", 17)),
        ("e1.", NOWHERE),
        ("e1.-1", NOWHERE),
        (f"e1.{2**64}", NOWHERE),
    ],
)
def test_last_event_id_is_read(text: str, position: Position) -> None:
    assert parse_last_event_id(text) == position


@given(st.text(st.characters(exclude_categories=())), st.text(max_size=30), st.text(max_size=30))
def test_any_address_is_answered(epoch: str, seq: str, types: str) -> None:
    assert isinstance(parse_query({"epoch": epoch, "seq": seq, "types": types}.items()), Query | Refusal)
    assert isinstance(parse_last_event_id(epoch + seq), Position)


@given(st.text(), st.integers(0, 2**64 - 1))
def test_position_survives_its_text(epoch: str, seq: int) -> None:
    position = Position(epoch, seq)
    assert parse_last_event_id(str(position)) == position


def test_code_texts_are_the_documented_ones() -> None:
    assert [code.value for code in Code] == [code.name for code in Code]


def test_default_types_are_types() -> None:
    assert len(DEFAULT_TYPES) == 8
    assert all(map(is_pattern, DEFAULT_TYPES))
