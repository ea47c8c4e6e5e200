"""The file of a Unix socket, with real sockets."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine_runtime.process import StartupError
from engine_runtime.unix_sockets import claimed, identity, release


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@contextmanager
def bound(path: Path, *, listens: bool = True) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        if listens:
            listener.listen(1)
        yield listener


def test_socket_is_for_its_owner_and_group(path: Path) -> None:
    before = os.umask(0)
    try:
        with claimed(path), bound(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert os.umask(0) == 0, "the mask of the process is what it was"
    finally:
        os.umask(before)


def test_what_a_dead_program_left_is_taken_over(path: Path) -> None:
    with bound(path):
        pass
    assert path.exists()
    with claimed(path), bound(path):
        pass


def test_program_that_serves_is_not_disturbed(path: Path) -> None:
    with bound(path) as listener:
        with (
            pytest.raises(StartupError, match=f"cannot listen on unix:{path}: another program serves there"),
            claimed(path),
        ):
            pass
        listener.accept()[0].close()  # the probe's
        # nor is one that is too busy to take anybody in
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(str(path))
        with pytest.raises(StartupError, match="another program serves there"), claimed(path):
            pass
        for client in waiting:
            client.close()
    assert path.exists()


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("somebody's work")
    with pytest.raises(StartupError, match="it is there already, and no socket"), claimed(path):
        pass
    assert path.read_text() == "somebody's work"


def test_folder_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="Not a directory"), claimed(tmp_path / "file" / "a.sock"):
        pass


def test_file_is_removed_at_the_end_unless_it_is_anothers(path: Path) -> None:
    with bound(path):
        mine = identity(path)
        path.unlink()
        with bound(path):  # which may well be given the same number
            release(path, mine)
            assert path.exists()
            release(path, identity(path))
            assert not path.exists()
    release(path, mine)


def test_use_does_not_change_who_it_is(path: Path) -> None:
    with bound(path) as listener, socket.socket(socket.AF_UNIX) as client:
        before = identity(path)
        client.connect(str(path))
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"x")
            path.chmod(0o600)
            assert identity(path) == before
