"""What a gRPC engine pushes, from its bytes to the browser's: refused and counted, or strict JSON."""

import json

from engine_events.v1 import events_pb2
from google.protobuf.message import DecodeError

from engine_bridge.intake import Intake
from tests.kit.rawclient import take_frame
from ws_gateway.encode import encode
from ws_gateway.errors import EventRefusedError

__all__ = ["target"]


def target(data: bytes) -> None:
    """The bytes of one event."""
    try:
        event = events_pb2.Event.FromString(data)
    except DecodeError:
        return
    taken = Intake().check(event)
    if taken is None:
        return
    try:
        encoded = encode(taken)
    except EventRefusedError:
        return
    frames = [encoded.frame, encoded.snapshot_frame]
    if encoded.is_state:
        frames.append(encoded.stale_frame(0.0, "BRIDGE_DISCONNECT"))
    for data in frames:
        frame, _ = take_frame(data) or (None, 0)
        assert frame is not None, "a frame that is not whole"
        message = json.loads(frame.payload.decode(), parse_constant=_refuse)
        assert message["type"] == taken.type


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
