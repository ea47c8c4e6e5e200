"""Finds the token in a request and asks the credentials what it gives."""

from enum import Enum, auto

from aiohttp import web

from eventlog import EVERYTHING
from ws_gateway.credentials import Credentials, Grant

__all__ = ["ANYBODY", "OPEN", "Access", "Denied", "require"]

ANYBODY = Grant("anybody", EVERYTHING, None)
"""What everybody has where no credentials are configured."""
_SUBPROTOCOL = "bearer."


class Denied(Enum):
    """Why a request has no grant."""

    NO_TOKEN = auto()
    """There is none; a WebSocket client may still send one as its first message."""
    WRONG_TOKEN = auto()


class Access:
    """Who may see what at one gateway."""

    def __init__(self, credentials: Credentials, *, token_in_url: bool) -> None:
        """`token_in_url`: also take `?token=`. Such a token ends in proxies' logs and browsers' histories, so it is off
        unless somebody wants it."""
        self._credentials = credentials
        self._token_in_url = token_in_url

    def of(self, request: web.Request) -> Grant | Denied:
        """What this request may see, by its Authorization header, its `bearer.TOKEN` subprotocol or its URL."""
        if not self._credentials.required:
            return ANYBODY
        token = self._token(request)
        return Denied.NO_TOKEN if token is None else self.check(token)

    def check(self, token: str) -> Grant | Denied:
        """What a token gives that came in another way."""
        if not self._credentials.required:
            return ANYBODY
        return self._credentials.check(token) or Denied.WRONG_TOKEN

    def _token(self, request: web.Request) -> str | None:
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
        for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if offered.strip().startswith(_SUBPROTOCOL):
                return offered.strip().removeprefix(_SUBPROTOCOL)
        if self._token_in_url:
            return request.query.get("token")
        return None


OPEN = Access(Credentials(None, None), token_in_url=False)
"""Asks nobody."""


def require(grant: Grant | Denied) -> Grant:
    """For plain HTTP: the grant, or 401 with the same text whatever was wrong."""
    if isinstance(grant, Denied):
        raise web.HTTPUnauthorized(text="credentials, please\n", headers={"WWW-Authenticate": "Bearer"})
    return grant
