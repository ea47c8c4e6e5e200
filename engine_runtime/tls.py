"""Certificates: the files that a server or a client is given, checked, and read again when they change.

What is made of them is for Python's ssl (contexts) or for gRPC (PEM bytes); no socket is touched here.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine_runtime.process import StartupError
from engine_runtime.reloaded import Reloaded, UnusableFileError

__all__ = ["Pems", "TlsFiles", "check_client", "check_server", "client_contexts", "pems", "server_contexts"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side of a connection."""

    certificate: Path | None
    """Its chain, leaf first. None: a client that shows none."""
    key: Path | None
    authority: Path | None
    """Who has signed what the other side must show. None: a server asks for nothing, a client takes public ones."""


@dataclass(frozen=True, slots=True)
class Pems:
    """What is in the files."""

    certificate: bytes | None
    key: bytes | None
    authority: bytes | None


def server_contexts(files: TlsFiles) -> Reloaded[ssl.SSLContext]:
    """For new connections: the context to take now. StartupError: the files cannot be used."""
    return _reloaded(files, lambda: _server_context(files, _read(files)))


def client_contexts(files: TlsFiles) -> Reloaded[ssl.SSLContext]:
    """For new connections: the context to take now. StartupError: the files cannot be used."""
    return _reloaded(files, lambda: _client_context(files, _read(files)))


def pems(files: TlsFiles) -> Reloaded[Pems]:
    """For gRPC, which says nothing useful of files that it cannot use. StartupError: the files cannot be used."""

    def read() -> Pems:
        content = _read(files)
        _client_context(files, content)  # the parts that matter are the same for a server
        return content

    return _reloaded(files, read)


def check_server(prefix: str, *, listen_is_unix: bool, files: TlsFiles) -> None:
    """ValueError, with the names of the settings: a server cannot have these together."""
    if (files.certificate is None) != (files.key is None):
        raise ValueError(f"{prefix}_TLS_CERT and {prefix}_TLS_KEY go together")
    if files.authority is not None and files.certificate is None:
        raise ValueError(f"{prefix}_TLS_CLIENT_CA needs {prefix}_TLS_CERT and {prefix}_TLS_KEY")
    if files.certificate is not None and listen_is_unix:
        raise ValueError(f"{prefix}_TLS_CERT is for HOST:PORT; a Unix socket is guarded by the mode of its file")


def check_client(prefix: str, *, url: str, encrypted: bool, files: TlsFiles) -> None:
    """ValueError, with the names of the settings: a client cannot have these together."""
    if (files.certificate is None) != (files.key is None):
        raise ValueError(f"{prefix}_TLS_CERT and {prefix}_TLS_KEY go together")
    if not encrypted and files != TlsFiles(None, None, None):
        raise ValueError(f"{prefix}={url} is not encrypted, so {prefix}_TLS_CA, _CERT and _KEY would do nothing")


def _reloaded(files: TlsFiles, read: Callable[[], T]) -> Reloaded[T]:
    paths = [path for path in (files.certificate, files.key, files.authority) if path is not None]
    try:
        return Reloaded("certificate", paths, read)
    except UnusableFileError as error:
        raise StartupError(str(error)) from None


def _read(files: TlsFiles) -> Pems:
    content = [None if path is None else path.read_bytes() for path in (files.certificate, files.key, files.authority)]
    return Pems(*content)


def _server_context(files: TlsFiles, content: Pems) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if files.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return _filled(context, files, content)


def _client_context(files: TlsFiles, content: Pems) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.authority is None:
        context.load_default_certs()
    return _filled(context, files, content)


def _filled(context: ssl.SSLContext, files: TlsFiles, content: Pems) -> ssl.SSLContext:
    """ValueError, OSError: not PEM, or the key is another certificate's."""
    if files.certificate is not None:
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ValueError("the key is not that of the certificate") from None
            raise ValueError("no certificate chain and key in PEM") from None
    if content.authority is not None:
        try:
            context.load_verify_locations(cadata=content.authority.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise ValueError(f"no certificate in PEM in {files.authority}") from None
    return context


def _no_password() -> bytes:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted")
