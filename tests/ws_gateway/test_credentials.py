"""Tokens: whose they are, what they may see, until when."""

import hashlib
import hmac
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from eventlog import EVERYTHING, Topics
from ws_gateway.credentials import Credentials, JwtRules
from ws_gateway.errors import CredentialsFileError

SECRET = b"0123456789abcdef0123456789abcdef"
HOUR_S = 3600

Private = Any


@pytest.fixture
def secret(tmp_path: Path) -> JwtRules:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return JwtRules("HS256", path, None, None)


def claims(**changes: object) -> dict[str, object]:
    return {"sub": "me", "exp": int(time.time()) + HOUR_S, "topics": ["system.*", "notification"], **changes}


def signed(changes: Mapping[str, object] | None = None, key: Private = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims(**(changes or {})), key, algorithm=algorithm)


def test_nobody_is_asked_when_nothing_is_configured() -> None:
    assert not Credentials(None, None).required


def test_static_token_sees_what_its_line_says(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# comment\nall-of-it\n\nsome-of-it system.* notification # and why\n")
    credentials = Credentials(path, None)
    assert credentials.required
    everything, some = credentials.check("all-of-it"), credentials.check("some-of-it")
    assert everything is not None
    assert (everything.topics, everything.expires_at_s) == (EVERYTHING, None)
    assert some is not None
    assert some.topics == Topics(["system.*", "notification"])


@pytest.mark.parametrize("token", ["", "all-of-i", "all-of-it ", "ALL-OF-IT", "#", "x" * 5000, "ä", "all\x00", "a.b.c"])
def test_wrong_token_gives_nothing(tmp_path: Path, token: str) -> None:
    path = tmp_path / "tokens"
    path.write_text("all-of-it\n")
    assert Credentials(path, None).check(token) is None


def test_jwt_sees_what_its_claim_lists_until_it_expires(secret: JwtRules) -> None:
    expires_s = int(time.time()) + 5
    grant = Credentials(None, secret).check(signed({"exp": expires_s}))
    assert grant is not None
    assert (grant.subject, grant.expires_at_s) == ("me", expires_s)
    assert grant.topics == Topics(["system.*", "notification"])


def test_jwt_without_the_claim_sees_nothing(secret: JwtRules) -> None:
    token = jwt.encode({"exp": int(time.time()) + HOUR_S}, SECRET, algorithm="HS256")
    grant = Credentials(None, secret).check(token)
    assert grant is not None
    assert not grant.topics.matches("system.status")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"exp": "tomorrow"},
        {"exp": None},
        {"nbf": int(time.time()) + HOUR_S},
        {"topics": ["NOT A TYPE"]},
        {"topics": {"a": 1}},
        {"topics": [1]},
    ],
)
def test_jwt_with_claims_that_do_not_hold_gives_nothing(secret: JwtRules, changes: dict[str, object]) -> None:
    assert Credentials(None, secret).check(signed(changes)) is None


def test_jwt_without_an_end_gives_nothing(secret: JwtRules) -> None:
    """PyJWT would take it."""
    token = jwt.encode({"sub": "me", "topics": ["*"]}, SECRET, algorithm="HS256")
    assert Credentials(None, secret).check(token) is None


def test_jwt_of_another_key_or_algorithm_gives_nothing(secret: JwtRules) -> None:
    credentials = Credentials(None, secret)
    assert credentials.check(signed(key=b"x" * 32)) is None
    assert credentials.check(jwt.encode(claims(), "", algorithm="none")) is None
    assert credentials.check(jwt.encode(claims(), SECRET * 2, algorithm="HS512")) is None
    head, body, _ = signed().split(".")
    assert credentials.check(f"{head}.{body}.") is None


def test_public_key_is_never_taken_for_a_shared_secret(tmp_path: Path) -> None:
    """The classic confusion: a token signed by HMAC with the public key's own text."""
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path = tmp_path / "public.pem"
    path.write_bytes(public)
    credentials = Credentials(None, JwtRules("RS256", path, None, None))
    assert credentials.check(signed(key=private, algorithm="RS256")) is not None
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    body = jwt.utils.base64url_encode(json.dumps(claims()).encode()).decode()
    signature = hmac.new(public, f"{header}.{body}".encode(), hashlib.sha256).digest()
    assert credentials.check(f"{header}.{body}.{jwt.utils.base64url_encode(signature).decode()}") is None


def test_audience_and_issuer_are_checked_when_they_are_set(secret: JwtRules) -> None:
    rules = JwtRules("HS256", secret.key_file, "gateway", "https://login.example")
    credentials = Credentials(None, rules)
    right = {"aud": "gateway", "iss": "https://login.example"}
    assert credentials.check(signed(right)) is not None
    for wrong in ({"aud": "other"}, {"iss": "https://evil.example"}, {"aud": None}, {"iss": ""}):
        assert credentials.check(signed({**right, **wrong})) is None
    assert credentials.check(signed()) is None


def test_key_set_gives_the_key_by_its_id_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    now_s = 0.0
    keys = {name: ed25519.Ed25519PrivateKey.generate() for name in "ab"}
    path = tmp_path / "jwks.json"

    def write(*names: str) -> None:
        to_jwk: Callable[..., Any] = jwt.algorithms.OKPAlgorithm.to_jwk
        made = [{**to_jwk(keys[name].public_key(), as_dict=True), "kid": name, "alg": "EdDSA"} for name in names]
        path.write_text(json.dumps({"keys": made}))
        os.utime(path, ns=(len(names), len(names)))

    write("a")
    credentials = Credentials(None, JwtRules("EdDSA", path, None, None), clock=lambda: now_s)
    tokens = {name: jwt.encode(claims(), key, algorithm="EdDSA", headers={"kid": name}) for name, key in keys.items()}
    assert credentials.check(tokens["a"]) is not None
    assert credentials.check(tokens["b"]) is None
    write("a", "b")
    now_s = 2.0
    assert credentials.check(tokens["b"]) is not None
    path.write_text("not JSON")
    now_s = 4.0
    assert credentials.check(tokens["a"]) is not None, "what was there before stays"


def test_tokens_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    now_s = 0.0
    path = tmp_path / "tokens"
    path.write_text("old\n")
    credentials = Credentials(path, None, clock=lambda: now_s)
    path.write_text("new-one\n")
    now_s = 1.0
    assert credentials.check("old") is None
    assert credentials.check("new-one") is not None


@pytest.mark.parametrize(
    ("algorithm", "content"),
    [("HS256", b"short"), ("RS256", b"not a key"), ("EdDSA", SECRET), ("RS256", b"")],
)
def test_unusable_key_file_is_refused_at_the_start(tmp_path: Path, algorithm: str, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(CredentialsFileError, match="cannot use"):
        Credentials(None, JwtRules(algorithm, path, None, None))


@pytest.mark.parametrize("content", [b"token NOT.A.TYPE", "tökén".encode()])
def test_unusable_tokens_file_is_refused_at_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(CredentialsFileError, match="cannot use"):
        Credentials(path, None)
    with pytest.raises(CredentialsFileError, match="cannot use"):
        Credentials(tmp_path / "missing", None)


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}", fullmatch=True))
def test_no_text_whatever_raises(text: str) -> None:
    assert CREDENTIALS.check(text) is None


def _credentials() -> Credentials:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "secret"
        path.write_bytes(SECRET)
        return Credentials(None, JwtRules("HS256", path, None, None), clock=lambda: 0.0)


CREDENTIALS = _credentials()
