"""Certificate files: what can be used, what cannot and with which words, and what goes together."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from engine_runtime.process import StartupError
from engine_runtime.tls import TlsFiles, check_client, check_server, client_contexts, pems, server_contexts
from tests.kit.certificates import Authority, Pair

Make = Callable[[TlsFiles], object]
MAKERS: list[Make] = [server_contexts, client_contexts, pems]
NOTHING = TlsFiles(None, None, None)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """In memory. ssl.SSLError: one of them refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass


def test_sides_with_certificates_of_the_authority_take_one_another(authority: Authority, pair: Pair) -> None:
    client = authority.client(authority.issue("client", "client.example"))
    handshake(server_contexts(authority.server(pair)).value(), client_contexts(client).value())


def test_client_without_a_certificate_is_refused_if_one_is_wanted(authority: Authority, pair: Pair) -> None:
    client = client_contexts(authority.client()).value()
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server_contexts(authority.server(pair)).value(), client)
    handshake(server_contexts(TlsFiles(pair.cert, pair.key, None)).value(), client)


def test_side_of_another_authority_is_refused(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    stranger, friend = other.issue("client"), authority.issue("client")
    server = server_contexts(authority.server(pair)).value()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, client_contexts(authority.client(stranger)).value())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, client_contexts(other.client(friend)).value())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, client_contexts(NOTHING).value())


def test_server_of_another_name_is_refused(authority: Authority) -> None:
    named = authority.issue("named", "elsewhere.example")
    server = server_contexts(TlsFiles(named.cert, named.key, None)).value()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, client_contexts(authority.client()).value())


def test_grpc_is_given_what_is_in_the_files(authority: Authority, pair: Pair) -> None:
    content = pems(authority.server(pair)).value()
    assert content.certificate == pair.cert.read_bytes()
    assert content.key == pair.key.read_bytes()
    assert content.authority == authority.file.read_bytes()
    assert pems(authority.client()).value().certificate is None


@pytest.mark.parametrize("make", MAKERS)
def test_file_that_is_missing_is_named(authority: Authority, pair: Pair, make: Make) -> None:
    for path in (pair.cert, pair.key, authority.file):
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(StartupError, match=rf"cannot use the certificate .*No such file.*{re.escape(str(path))}"):
            make(authority.server(pair))
        path.write_bytes(kept)


@pytest.mark.parametrize("make", MAKERS)
def test_file_that_is_no_pem_is_refused(authority: Authority, pair: Pair, make: Make) -> None:
    for path, words in (
        (pair.cert, "no certificate chain and key in PEM"),
        (pair.key, "no certificate chain and key in PEM"),
        (authority.file, f"no certificate in PEM in {authority.file}"),
    ):
        kept = path.read_bytes()
        for content in (b"nonsense", b"", b"\xff\xfe"):
            path.write_bytes(content)
            with pytest.raises(StartupError, match=words):
                make(authority.server(pair))
        path.write_bytes(kept)


@pytest.mark.parametrize("make", MAKERS)
def test_key_of_another_certificate_is_refused(authority: Authority, pair: Pair, make: Make) -> None:
    other = authority.issue("other")
    with pytest.raises(StartupError, match="the key is not that of the certificate"):
        make(TlsFiles(pair.cert, other.key, None))


@pytest.mark.parametrize("make", MAKERS)
def test_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(pair: Pair, make: Make) -> None:
    """OpenSSL would ask on the terminal, and a service would hang there."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(StartupError, match="the key is encrypted"):
        make(TlsFiles(pair.cert, pair.key, None))


@pytest.mark.parametrize(
    ("files", "unix", "words"),
    [
        (TlsFiles(Path("a"), None, None), False, "P_TLS_CERT and P_TLS_KEY go together"),
        (TlsFiles(None, Path("a"), None), False, "P_TLS_CERT and P_TLS_KEY go together"),
        (TlsFiles(None, None, Path("a")), False, "P_TLS_CLIENT_CA needs P_TLS_CERT"),
        (TlsFiles(Path("a"), Path("b"), None), True, "P_TLS_CERT is for HOST:PORT"),
    ],
)
def test_settings_of_a_server_that_make_no_sense_together_are_refused(files: TlsFiles, unix: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_server("P", listen_is_unix=unix, files=files)


@pytest.mark.parametrize(
    ("files", "encrypted", "words"),
    [
        (TlsFiles(Path("a"), None, None), True, "P_TLS_CERT and P_TLS_KEY go together"),
        (TlsFiles(None, None, Path("a")), False, "P=U is not encrypted"),
        (TlsFiles(Path("a"), Path("b"), None), False, "P=U is not encrypted"),
    ],
)
def test_settings_of_a_client_that_make_no_sense_together_are_refused(
    files: TlsFiles, encrypted: bool, words: str
) -> None:
    """Above all: who sets certificates must not find out later that everything went in the clear."""
    with pytest.raises(ValueError, match=words):
        check_client("P", url="U", encrypted=encrypted, files=files)


def test_settings_that_make_sense_are_taken() -> None:
    whole = TlsFiles(Path("a"), Path("b"), Path("c"))
    for files in (NOTHING, whole, TlsFiles(Path("a"), Path("b"), None)):
        check_server("P", listen_is_unix=False, files=files)
        check_client("P", url="U", encrypted=True, files=files)
    check_client("P", url="U", encrypted=True, files=TlsFiles(None, None, Path("c")))
    check_server("P", listen_is_unix=True, files=NOTHING)
    check_client("P", url="U", encrypted=False, files=NOTHING)
