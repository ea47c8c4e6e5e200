"""Certificate authorities made for a test, the files of what they sign, and what a server shows."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import trustme

from engine_runtime.tls import TlsFiles

__all__ = ["Authority", "Pair", "shown_by"]


@dataclass(frozen=True)
class Pair:
    """The files of one certificate."""

    cert: Path
    key: Path


class Authority:
    """One authority. Its own certificate, and what it issues, lie in `directory` as PEM files."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._authority = trustme.CA()
        self._directory = directory
        self._name = name
        self.file = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, identity: str = "127.0.0.1") -> Pair:
        """A new certificate for an address or a name. Whatever was in the files of that name is replaced."""
        pair = Pair(self._directory / f"{self._name}-{name}.pem", self._directory / f"{self._name}-{name}.key")
        self.write(pair, identity)
        return pair

    def write(self, pair: Pair, identity: str = "127.0.0.1") -> None:
        """Puts a new certificate of ours into files that are there already."""
        certificate = self._authority.issue_cert(identity)
        # whoever looks in between finds a key that does not fit, and looks again
        _replace(pair.key, certificate.private_key_pem.bytes())
        _replace(pair.cert, b"".join(pem.bytes() for pem in certificate.cert_chain_pems))

    def server(self, pair: Pair) -> TlsFiles:
        """For a server that wants clients of ours."""
        return TlsFiles(pair.cert, pair.key, self.file)

    def client(self, pair: Pair | None = None) -> TlsFiles:
        """For a client that wants a server of ours, and shows this."""
        return TlsFiles(None if pair is None else pair.cert, None if pair is None else pair.key, self.file)

    def channel_credentials(self, pair: Pair | None = None) -> grpc.ChannelCredentials:
        """For a gRPC client that wants a server of ours, and shows this."""
        if pair is None:
            return grpc.ssl_channel_credentials(self.file.read_bytes())
        return grpc.ssl_channel_credentials(self.file.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes())

    def server_credentials(self, pair: Pair) -> grpc.ServerCredentials:
        """For a gRPC server that wants clients of ours."""
        return grpc.ssl_server_credentials(
            [(pair.key.read_bytes(), pair.cert.read_bytes())], self.file.read_bytes(), require_client_auth=True
        )

    def server_context(self, pair: Pair) -> ssl.SSLContext:
        """For an HTTP server that wants clients of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        context.load_verify_locations(self.file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that wants a server of ours."""
        return ssl.create_default_context(cafile=str(self.file))


async def shown_by(address: str) -> bytes:
    """The certificate that a server at HOST:PORT shows, whoever has signed it, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(5):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    assert isinstance(shown, bytes)
    return shown


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)
