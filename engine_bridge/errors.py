"""What can go wrong with an engine.

EngineError
├── MethodMissing      the engine does not have this method; not a failure
└── CallFailed         the call failed; `reason` says how
    ├── Unreachable    no connection, or it broke
    ├── TimedOut       no answer within the deadline
    └── BadAnswer      an error, or something that is no answer
"""

from engine_events.v1 import events_pb2

__all__ = ["BadAnswer", "CallFailed", "EngineError", "MethodMissing", "TimedOut", "Unreachable"]


class EngineError(Exception):
    """Something about a call to the engine; its text is for people."""


class MethodMissing(EngineError):
    """gRPC UNIMPLEMENTED or JSON-RPC -32601."""


class CallFailed(EngineError):
    """The call failed, and the breaker counts it."""

    reason: events_pb2.RpcErrorReason.ValueType


class Unreachable(CallFailed):
    reason = events_pb2.RPC_ERROR_REASON_RPC_DISCONNECT


class TimedOut(CallFailed):
    reason = events_pb2.RPC_ERROR_REASON_RPC_TIMEOUT


class BadAnswer(CallFailed):
    reason = events_pb2.RPC_ERROR_REASON_RPC_FAILED
