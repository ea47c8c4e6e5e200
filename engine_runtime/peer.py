"""A gRPC server that we are a client of, in the clear or over TLS."""

import grpc
import grpc.aio

from engine_runtime.grpc_defaults import CHANNEL_OPTIONS
from engine_runtime.tls import TlsFiles, pems

__all__ = ["Peer"]


class Peer:
    """Makes channels to one server.

    A channel connects again by itself, but for ever with the certificates that it was made with: once they have changed
    (`is_renewed`) and its connection is gone, make a new one.
    """

    def __init__(self, target: str, tls: TlsFiles | None, *, max_message_bytes: int) -> None:
        """`target`: HOST:PORT or unix:PATH. `tls` None: in the clear. StartupError: the files cannot be used."""
        self._target = target
        self._pems = None if tls is None else pems(tls)
        self._used = None if self._pems is None else self._pems.value()
        self._options = [*CHANNEL_OPTIONS, ("grpc.max_receive_message_length", max_message_bytes)]

    @property
    def is_renewed(self) -> bool:
        """Whether a channel would be made with other certificates than the last one was."""
        return self._pems is not None and self._pems.value() is not self._used

    def connect(self) -> grpc.aio.Channel:
        """A new channel; nothing is sent yet."""
        if self._pems is None:
            return grpc.aio.insecure_channel(self._target, options=self._options)
        used = self._used = self._pems.value()
        credentials = grpc.ssl_channel_credentials(used.authority, used.key, used.certificate)
        return grpc.aio.secure_channel(self._target, credentials, options=self._options)
