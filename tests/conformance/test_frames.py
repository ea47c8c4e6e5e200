"""Autobahn's cases, as kosoku runs them: verbatim against an echo over the gateway's WebSocket, and, as far as that can
be judged without an echo, against the gateway itself."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kosoku
import pytest

from tests.kit.program import Program
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

FRAMING = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*")
ALL = (*FRAMING, "9.*", "10.*")
"""8 does not exist; 11 is Autobahn's own; 12 and 13 are compression, which the gateway does not offer."""
AT_ONCE = 16
ONLY_TEXT = 1003


async def run(url: str, cases: Sequence[str]) -> list[Any]:
    """Every case, whether it passed or not."""
    async with asyncio.timeout(110):
        try:
            return await kosoku.run_fuzzingclient(url, cases, None, AT_ONCE)
        except kosoku.FailureError as failure:
            return failure.results


async def test_every_case_passes_over_the_websocket_of_a_session(tmp_path: Path) -> None:
    """Sections 1 to 7, 9 and 10, judged by Autobahn; messages of up to 16 MiB come back whole."""
    async with Program("echo", "tests.conformance.echo", listen="--listen", directory=tmp_path) as echo:
        results = await run(f"ws://{echo.address}/ws", ALL)
    assert len(results) > 290
    assert [f"{case.case_id}: {case.result}; {case.result_close}" for case in results if not case.passed] == []


async def test_gateway_answers_every_case_that_needs_no_echo() -> None:
    """Sections 1 to 7. It says welcome, which Autobahn takes for a wrong echo, so that its verdict is of no use:
    what it expected and what came are compared here instead."""
    settings = {"WS_GATEWAY_MAX_MESSAGE_BYTES": str(16 << 20), "WS_GATEWAY_HEARTBEAT_S": "600"}
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, gateway_settings=settings) as stack:
        results = await run(f"{stack.ws_url()}?types=heartbeat&snapshot=0", FRAMING)
    assert len(results) > 230
    assert [f"{case.case_id}: {complaint}" for case in results if (complaint := wrong(case))] == []


@pytest.mark.parametrize(
    ("received", "code", "is_right"),
    [
        ([], 1002, True),
        ([], 1000, False),
        ([], None, False),
        ([("message", '{"type":"error"}', False)], 1002, False),
        ([("pong", "x")], 1002, False),
    ],
)
def test_judge_sees_a_wrong_code_and_an_answer_too_many(received: list[Any], code: int | None, is_right: bool) -> None:
    """For a case in which the connection is to be closed at once."""
    welcome = ("message", '{"data":{"message":"connected"}}', False)
    case = SimpleNamespace(
        behavior=SimpleNamespace(value="FAILED"),
        expected={"OK": []},
        expected_close={"closedByMe": False, "closeCode": [1002]},
        received=[welcome, *received],
        remote_close_code=code,
    )
    assert (wrong(case) == "") is is_right


def wrong(case: Any) -> str:
    """What the gateway did wrong in a case; empty: nothing."""
    wanted = case.expected_close
    if case.behavior.value == "INFORMATIONAL":
        return ""
    is_binary = any(event[0] == "message" and event[2] for events in case.expected.values() for event in events)
    if is_binary and case.remote_close_code == ONLY_TEXT:
        return ""
    came = list(answers(case.received))
    expected = [[as_answer(event) for event in events] for events in case.expected.values()]
    if came not in expected:
        return f"{came}, none of {expected}"
    # Where Autobahn was to close, it does so only when it has its echo; then it drops the connection.
    codes = wanted["closeCode"] if not wanted["closedByMe"] else [*wanted["closeCode"], None]
    if case.remote_close_code not in codes:
        return f"closed with {case.remote_close_code}, not with {codes}"
    return ""


def answers(received: Sequence[Any]) -> Iterator[Any]:
    """What came after the welcome, the gateway's own pings left out. An `error` of its says that a text arrived: no
    case sends JSON that it would take."""
    for number, event in enumerate(received):
        message = json.loads(event[1]) if event[0] == "message" else {}
        if number == 0:
            assert message["data"]["message"] == "connected"
        elif event[0] != "ping":
            yield "text" if message.get("type") == "error" else tuple(event)


def as_answer(event: Any) -> Any:
    return "text" if event[0] == "message" else tuple(event)
