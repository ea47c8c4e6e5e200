"""What can go wrong in the gateway.

GatewayError
├── EventRefusedError           an event that cannot be sent to a browser
│   ├── BadTypeNameError        its type is not a dotted name
│   └── EventTooLargeError      its frame would exceed the bound
└── CredentialsFileError        a file of tokens or keys that cannot be used
"""

__all__ = ["BadTypeNameError", "CredentialsFileError", "EventRefusedError", "EventTooLargeError", "GatewayError"]


class GatewayError(Exception):
    """Anything of ours."""


class EventRefusedError(GatewayError):
    """An event that cannot be sent to a browser: count it, log it, go on with the next. It is the bridge's mistake."""


class BadTypeNameError(EventRefusedError):
    """Its type is not what `eventlog.is_type` takes."""


class EventTooLargeError(EventRefusedError):
    """Its frame would be larger than the bound in bytes."""


class CredentialsFileError(GatewayError):
    """The gateway does not start without what it was told to check credentials with."""
