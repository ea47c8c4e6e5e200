"""An output is there whole or not at all, and replaces nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from host_engine.errors import JobFailed, OutsideRoot
from host_engine.partial import Partial, partial_name, remove_leftover
from host_engine.rootdir import Root
from tests.host_engine.listing import names_in

JOB_ID = "0123456789abcdef"


def partial(root: Root, name: str = "new", *, max_bytes: int = 1 << 30, min_free_bytes: int = 0) -> Partial:
    return Partial(root, (name,), JOB_ID, max_bytes=max_bytes, min_free_bytes=min_free_bytes)


def test_output_placed_is_all_there_is(root: Root, folder: Path) -> None:
    with partial(root) as output:
        output.write(b"content")
        assert names_in(folder) == [f".new.{JOB_ID}.partial"]
        output.set_mode(0o4640)
        output.sync()
        output.place()
    assert names_in(folder) == ["new"]
    assert (folder / "new").read_bytes() == b"content"
    assert (folder / "new").stat().st_mode & 0o7777 == 0o640


def test_output_not_placed_leaves_nothing(root: Root, folder: Path) -> None:
    with partial(root) as output:
        output.write(b"content")
    assert names_in(folder) == []


def place_after(root: Root, meanwhile: Callable[[], object]) -> None:
    with partial(root) as output:
        output.write(b"content")
        meanwhile()
        output.place()


def test_output_never_replaces_what_came_meanwhile(root: Root, folder: Path) -> None:
    with pytest.raises(JobFailed, match="exists already"):
        place_after(root, lambda: (folder / "new").write_text("theirs"))
    assert names_in(folder) == ["new"]
    assert (folder / "new").read_text() == "theirs"


def test_output_never_follows_a_link_that_came_meanwhile(root: Root, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailed):
        place_after(root, lambda: (folder / "new").symlink_to(tmp_path / "outside"))
    assert not (tmp_path / "outside").exists()


def test_output_too_large_is_refused(root: Root, folder: Path) -> None:
    with partial(root, max_bytes=10) as output:
        output.write(b"0123456789")
        with pytest.raises(JobFailed, match="MAX_OUTPUT"):
            output.write(b"x")
    assert names_in(folder) == []


def test_output_on_a_full_disk_is_refused(root: Root, folder: Path) -> None:
    with pytest.raises(JobFailed, match="MIN_FREE"), partial(root, min_free_bytes=1 << 60):
        pass
    assert names_in(folder) == []


def test_output_in_a_folder_that_became_a_link_is_refused(root: Root, folder: Path, tmp_path: Path) -> None:
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(OutsideRoot):
        Partial(root, ("out", "new"), JOB_ID, max_bytes=1, min_free_bytes=0)


def test_leftover_is_removed_and_nothing_else(root: Root, folder: Path) -> None:
    for name in ("new", partial_name("new", JOB_ID), partial_name("new", "fedcba9876543210")):
        (folder / name).touch()
    assert remove_leftover(root, ("new",), JOB_ID)
    assert not remove_leftover(root, ("new",), JOB_ID)
    assert names_in(folder) == [partial_name("new", "fedcba9876543210"), "new"]


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "日" * 85])
def test_temporary_of_the_longest_name_fits(root: Root, folder: Path, name: str) -> None:
    with partial(root, name) as output:
        output.place()
    assert names_in(folder) == [name]
