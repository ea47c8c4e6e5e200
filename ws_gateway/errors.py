"""What can go wrong in the gateway.

GatewayError
└── EventRefusedError           an event that cannot be sent to a browser
    ├── BadTypeNameError        its type is not a dotted name
    └── EventTooLargeError      its frame would exceed the bound
"""

__all__ = ["BadTypeNameError", "EventRefusedError", "EventTooLargeError", "GatewayError"]


class GatewayError(Exception):
    """Anything of ours."""


class EventRefusedError(GatewayError):
    """An event that cannot be sent to a browser: count it, log it, go on with the next. It is the bridge's mistake."""


class BadTypeNameError(EventRefusedError):
    """Its type is not what `eventlog.is_type` takes."""


class EventTooLargeError(EventRefusedError):
    """Its frame would be larger than the bound in bytes."""
