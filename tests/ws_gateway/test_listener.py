"""Where the gateway listens, with real sockets. What holds of the file of a Unix socket is in tests/engine_runtime."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from engine_runtime.process import StartupError
from ws_gateway.listener import listening, own_send_buffer_bytes


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_port_is_listened_on_and_given_back(host: str, family: socket.AddressFamily) -> None:
    with listening(f"{host}:0", 65_536) as listener:
        place = listener.getsockname()
        with socket.create_connection(place[:2]):
            pass
        assert listener.gettimeout() == 0
    with socket.socket(family) as probe:
        assert probe.connect_ex(place) != 0


def test_little_of_what_a_client_sends_can_be_read_at_once() -> None:
    """Whatever is read is parsed without a pause: a flood of tiny frames must not come in by the hundred thousand."""
    with listening("127.0.0.1:0", 65_536) as listener, socket.create_connection(listener.getsockname()) as client:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            client.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while True:
                    sent += client.send(bytes(1 << 20))
            assert len(accepted.recv(1 << 20)) <= 64 << 10 < sent


def test_unix_socket_is_listened_on_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with listening(f"unix:{path}", 65_536) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert listener.gettimeout() == 0
    assert not path.exists()


def test_unix_socket_that_closed_before_is_removed_all_the_same(tmp_path: Path) -> None:
    """The gateway closes it first when it stops, and then talks to those who are here."""
    path = tmp_path / "a.sock"
    with listening(f"unix:{path}", 65_536) as listener:
        listener.close()
    assert not path.exists()


def test_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.sock"
    with pytest.raises(StartupError, match=f"cannot listen on unix:{path}: No such file"), listening(f"unix:{path}", 1):
        pass


def test_connections_over_a_unix_socket_get_a_smaller_buffer_of_their_own() -> None:
    """They inherit none, and the smaller it is the sooner a slow reader is seen to read."""
    assert own_send_buffer_bytes("unix:/a", 65_536) == 8_192
    assert own_send_buffer_bytes("127.0.0.1:1", 65_536) is None
