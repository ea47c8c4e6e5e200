"""Files that are read again when they change. The clock is the test's."""

import os
import threading
from pathlib import Path

import pytest

from engine_runtime.reloaded import Reloaded, UnusableFileError


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def number(path: Path, clock: Clock) -> Reloaded[int]:
    return Reloaded("number", [path], lambda: int(path.read_text()), clock)


def test_value_changes_with_the_file_a_second_later(path: Path, clock: Clock) -> None:
    reloaded = number(path, clock)
    path.write_text("22")
    clock.now_s = 0.9
    assert reloaded.value() == 1
    clock.now_s = 1.0
    assert reloaded.value() == 22


def test_file_that_stays_is_read_once(path: Path, clock: Clock) -> None:
    reads: list[None] = []
    reloaded = Reloaded("number", [path], lambda: reads.append(None), clock)
    for clock.now_s in range(5):
        reloaded.value()
    assert len(reads) == 1


@pytest.mark.parametrize("content", ["", "x", None])
def test_file_that_cannot_be_used_leaves_what_was_there_until_it_can(
    path: Path, clock: Clock, content: str | None
) -> None:
    reloaded = number(path, clock)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for clock.now_s in (1.0, 2.0):
        assert reloaded.value() == 1
    path.write_text("333")
    clock.now_s = 3.0
    assert reloaded.value() == 333


def test_any_of_several_files_counts(tmp_path: Path, clock: Clock) -> None:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text("old")
    reloaded = Reloaded("pair", paths, lambda: [path.read_text() for path in paths], clock)
    paths[1].write_text("newer")
    clock.now_s = 1.0
    assert reloaded.value() == ["old", "newer"]


def test_file_that_is_exchanged_for_one_of_the_same_size_and_time_is_noticed(path: Path, clock: Clock) -> None:
    """As tools that keep a file's time do."""
    reloaded = number(path, clock)
    status = path.stat()
    other = path.with_name("other")
    other.write_text("2")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    clock.now_s = 1.0
    assert reloaded.value() == 2


def test_file_that_changes_while_it_is_read_is_read_again_at_the_next_look(path: Path, clock: Clock) -> None:
    """Half of one version and half of another must never be in force together."""
    busy = False

    def read() -> str:
        before = path.read_text()
        if busy:
            path.write_text("after it was read")
        return before

    reloaded = Reloaded("text", [path], read, clock)
    path.write_text("while it is read")
    busy, clock.now_s = True, 1.0
    assert reloaded.value() == "1"
    busy, clock.now_s = False, 2.0
    assert reloaded.value() == "after it was read"


@pytest.mark.parametrize("content", ["x", None])
def test_file_that_cannot_be_used_at_the_start_is_an_error_that_names_it(
    path: Path, clock: Clock, content: str | None
) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UnusableFileError, match=f"cannot use the number {path}: "):
        number(path, clock)


def test_any_thread_may_ask(path: Path, clock: Clock) -> None:
    reloaded = number(path, clock)
    path.write_text("22")
    clock.now_s = 1.0
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(reloaded.value())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {1, 22}
    assert reloaded.value() == 22
