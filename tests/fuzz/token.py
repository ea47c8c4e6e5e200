"""Tokens: whatever text comes, it gives nothing; whatever a signed token claims, a grant or nothing."""

import tempfile
from pathlib import Path

from jwt.api_jws import PyJWS

from ws_gateway.credentials import Credentials, Grant, JwtRules

__all__ = ["target"]

_SECRET = b"0123456789abcdef0123456789abcdef"
_SIGN = PyJWS().encode


def _credentials() -> Credentials:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "secret")
        path.write_bytes(_SECRET)
        return Credentials(None, JwtRules("HS256", path, None, None), clock=lambda: 0.0)


_CREDENTIALS = _credentials()


def target(data: bytes) -> None:
    """As a token, and as what a token of a careless issuer claims."""
    assert _CREDENTIALS.check(data.decode("utf-8", "surrogateescape")) is None
    grant = _CREDENTIALS.check(_SIGN(data, _SECRET, "HS256"))
    assert grant is None or isinstance(grant, Grant)
