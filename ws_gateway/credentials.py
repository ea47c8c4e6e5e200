"""Who a token belongs to, what they may see, and until when: static tokens from a file, and JWTs.

Reads its files when they have changed, so that tokens and keys can be exchanged without a restart. Every refusal is the
same to the client, whatever was wrong; the log has the kind of mistake, never the token.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jwt
import structlog

from engine_runtime.reloaded import Reloaded, UnusableFileError
from eventlog import EVERYTHING, Topics, is_pattern
from ws_gateway.errors import CredentialsFileError

__all__ = ["ALGORITHMS", "Credentials", "Grant", "JwtRules"]

log = structlog.get_logger()

T = TypeVar("T")

ALGORITHMS = ("HS256", "RS256", "EdDSA")
"""One of them is chosen by the settings, and no other is accepted, whatever a token's header says (RFC 8725, 3.1)."""
_MAX_TOKEN_CHARS = 4096
_MIN_SECRET_BYTES = 32
"""For HS256 as many bytes as its hash has (RFC 7518, 3.2)."""
_LEEWAY_S = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token gives."""

    subject: str
    """Whose it is, for the log."""
    topics: Topics
    """What they may see."""
    expires_at_s: float | None
    """Unix seconds. None: never."""


@dataclass(frozen=True, slots=True)
class JwtRules:
    """How JWTs are checked."""

    algorithm: str
    key_file: Path
    """HS256: the secret's bytes. RS256, EdDSA: a public key in PEM, or a JSON Web Key Set (`*.json`)."""
    audience: str | None
    issuer: str | None
    topics_claim: str = "topics"
    """The claim that lists topic patterns. A token without it sees nothing."""


class Credentials:
    """The tokens that this gateway takes. CredentialsFileError: a file cannot be used at the start."""

    def __init__(
        self,
        tokens_file: Path | None,
        rules: JwtRules | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._wall_clock = wall_clock
        self._rules = rules
        self._tokens = _reloaded(tokens_file, _read_tokens, clock) if tokens_file is not None else None
        self._keys = _reloaded(rules.key_file, lambda path: _read_keys(path, rules.algorithm), clock) if rules else None

    @property
    def required(self) -> bool:
        """Whether anybody is asked at all."""
        return self._tokens is not None or self._keys is not None

    def check(self, token: str) -> Grant | None:
        """What the token gives; None: nothing."""
        if not token or len(token) > _MAX_TOKEN_CHARS or not token.isascii() or not token.isprintable():
            log.info("credentials_refused", reason="malformed")
            return None
        if self._tokens is not None:
            grant = self._tokens.value().get(_digest(token))
            if grant is not None:
                return grant
        if self._keys is not None and self._rules is not None:
            return self._check_jwt(token, self._rules, self._keys.value())
        log.info("credentials_refused", reason="unknown token")
        return None

    def _check_jwt(self, token: str, rules: JwtRules, keys: "_Keys") -> Grant | None:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = keys.choose(key_id if isinstance(key_id, str) else None)
            claims = jwt.decode(
                token,
                key,
                algorithms=[rules.algorithm],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp"], "verify_aud": rules.audience is not None},
            )
            return _grant(claims, rules)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError) as error:
            log.info("credentials_refused", reason=type(error).__name__)
            return None


def _grant(claims: Mapping[str, Any], rules: JwtRules) -> Grant:
    """ValueError: the claims are signed, and still not what we understand."""
    topics = claims.get(rules.topics_claim, [])
    if isinstance(topics, str):
        topics = topics.split()
    if not isinstance(topics, list) or not all(isinstance(topic, str) and is_pattern(topic) for topic in topics):
        raise ValueError("topics")
    return Grant(str(claims.get("sub", ""))[:128], Topics(topics), float(claims["exp"]))


class _Keys:
    def __init__(self, by_id: Mapping[str, Any], only: Any = None) -> None:
        self._by_id = by_id
        self._only = only

    def choose(self, key_id: str | None) -> Any:
        if self._only is not None:
            return self._only
        if key_id is None and len(self._by_id) == 1:
            return next(iter(self._by_id.values()))
        return self._by_id[key_id or ""]


def _reloaded(path: Path, read: Callable[[Path], T], clock: Callable[[], float]) -> Reloaded[T]:
    def read_path() -> T:
        try:
            return read(path)
        except jwt.PyJWTError as error:
            raise ValueError(str(error)) from None

    try:
        return Reloaded("credentials", [path], read_path, clock)
    except UnusableFileError as error:
        raise CredentialsFileError(str(error)) from None


def _read_keys(path: Path, algorithm: str) -> _Keys:
    content = path.read_bytes()
    if path.suffix == ".json":
        keys = jwt.PyJWKSet.from_dict(json.loads(content)).keys
        return _Keys({key.key_id or "": key.key for key in keys if key.algorithm_name == algorithm})
    if algorithm == "HS256":
        secret = content.strip()
        if len(secret) < _MIN_SECRET_BYTES:
            raise ValueError(f"an HS256 secret needs {_MIN_SECRET_BYTES} bytes, it has {len(secret)}")
        return _Keys({}, secret)
    prepared = jwt.get_algorithm_by_name(algorithm).prepare_key(content)
    return _Keys({}, prepared)


def _read_tokens(path: Path) -> dict[bytes, Grant]:
    """One token a line, then the patterns that it may see (none: everything); # begins a comment."""
    grants = {}
    for number, line in enumerate(path.read_text("ascii").splitlines(), start=1):
        token, *patterns = line.partition("#")[0].split() or [""]
        if not token:
            continue
        if not all(map(is_pattern, patterns)):
            raise ValueError(f"line {number}: a topic pattern is malformed")
        grants[_digest(token)] = Grant(f"line {number}", Topics(patterns) if patterns else EVERYTHING, None)
    return grants


def _digest(token: str) -> bytes:
    """What is looked up: how long that takes tells nothing about a token, since its digest cannot be chosen. The key is
    made anew by each process."""
    return hmac.new(_PROCESS_KEY, token.encode("ascii"), hashlib.sha256).digest()


_PROCESS_KEY = secrets.token_bytes(32)
