"""What a JSON-RPC engine answers: events that can be sent, or a refusal that is counted."""

import json

from engine_events.v1 import events_pb2

from engine_bridge.engines import jsonrpc_answers
from ws_gateway.encode import encode
from ws_gateway.errors import EventRefusedError

__all__ = ["target"]

_CONVERTERS = (
    jsonrpc_answers.system_status,
    jsonrpc_answers.storage_update,
    jsonrpc_answers.agent_status,
    jsonrpc_answers.compression_update,
)


def target(data: bytes) -> None:
    """The result, as it stands in the response."""
    try:
        result = json.loads(data)
    except (ValueError, RecursionError):
        return
    for convert in _CONVERTERS:
        try:
            events = convert(result)
        except jsonrpc_answers.NotAnAnswer:
            continue
        for event in events:
            try:
                encode(events_pb2.Event.FromString(event.SerializeToString()))
            except EventRefusedError:
                pass
