"""Nothing outside ROOT can be reached, by no spelling, link or race."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_runtime.process import StartupError
from host_engine.errors import HostEngineError, InvalidRequest, NoSuchInput, OutputExists, OutsideRoot
from host_engine.rootdir import Root

PIECE = st.sampled_from(["..", ".", "", "inside", "file", "link", "out", "dangling", "/", "//", "~", "ä"]) | st.text(
    st.characters(codec="utf-8"), max_size=8
)
PATH = st.lists(PIECE, max_size=7).map("/".join)


@pytest.fixture
def tree(folder: Path, root: Root) -> Root:
    """ROOT with a file, a folder, and links of every kind that leads out."""
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    (folder / "file").write_text("mine")
    (folder / "inside").mkdir()
    (folder / "inside" / "file").write_text("mine")
    (folder / "out").symlink_to(secret)
    (folder / "inside" / "link").symlink_to(secret / "file")
    (folder / "link").symlink_to("../secret/file")
    (folder / "dangling").symlink_to("/nowhere")
    return root


def read(root: Root, path: str) -> bytes:
    fd = root.open_input(root.parts(path, "input_path"))
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATH)
def test_input_of_any_path_stays_inside(tree: Root, path: str) -> None:
    """Whatever the text, either the file read is ROOT's own or the path is refused with an error of ours."""
    try:
        content = read(tree, path)
    except HostEngineError:
        return
    assert content == b"mine" or content.startswith(b"{")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATH)
def test_output_of_any_path_stays_inside(tree: Root, folder: Path, path: str) -> None:
    """Where an output may be made, its folder is below ROOT when the system resolves it."""
    try:
        parts = tree.parts(path, "output_path")
        tree.check_output(parts)
    except HostEngineError:
        return
    assert folder.joinpath(*parts).resolve().is_relative_to(folder.resolve())
    assert not folder.joinpath(*parts).is_symlink()


@pytest.mark.parametrize("path", ["file", "./file", "inside/file", "inside//./file"])
def test_input_inside_is_read(tree: Root, path: str) -> None:
    assert read(tree, path) == b"mine"


def test_input_absolute_below_root_is_read(tree: Root, folder: Path) -> None:
    assert read(tree, str(folder / "inside" / "file")) == b"mine"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../secret/file", OutsideRoot),
        ("inside/../file", OutsideRoot),
        ("/etc/passwd", OutsideRoot),
        ("//etc/passwd", OutsideRoot),
        ("link", OutsideRoot),
        ("inside/link", OutsideRoot),
        ("out/file", OutsideRoot),
        ("dangling", OutsideRoot),
        (".jobs.json", OutsideRoot),
        (".JOBS.json", OutsideRoot),
        ("nothing", NoSuchInput),
        ("nothing/file", NoSuchInput),
        ("file/file", NoSuchInput),
        ("inside", InvalidRequest),
        ("inside/", InvalidRequest),
        ("", InvalidRequest),
        (".", InvalidRequest),
        ("a\0b", InvalidRequest),
        ("x" * 256, InvalidRequest),
        ("x/" * 600 + "x", InvalidRequest),
    ],
)
def test_input_elsewhere_is_refused(tree: Root, path: str, error: type[HostEngineError]) -> None:
    with pytest.raises(error):
        read(tree, path)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("file", OutputExists),
        ("inside", OutputExists),
        ("dangling", OutputExists),
        ("nothing/new", InvalidRequest),
        ("file/new", InvalidRequest),
        ("out/new", OutsideRoot),
    ],
)
def test_output_that_cannot_be_made_is_refused(tree: Root, path: str, error: type[HostEngineError]) -> None:
    with pytest.raises(error):
        tree.check_output(tree.parts(path, "output_path"))


def test_input_not_regular_is_refused(tree: Root, folder: Path) -> None:
    """A FIFO would hang whoever opens it."""
    os.mkfifo(folder / "fifo")
    with pytest.raises(InvalidRequest):
        read(tree, "fifo")


def test_folder_swapped_for_a_link_never_leads_out(tree: Root, folder: Path) -> None:
    """While a folder and a link out of ROOT take turns under one name, no read ever shows what lies outside."""
    (folder / "swap").mkdir()
    (folder / "swap" / "file").write_text("mine")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (folder / "swap").rename(folder / "aside")
            (folder / "swap").symlink_to(folder.parent / "secret")
            (folder / "swap").unlink()
            (folder / "aside").rename(folder / "swap")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(3000):
            try:
                assert read(tree, "swap/file") == b"mine"
            except HostEngineError:
                continue
    finally:
        done.set()
        swapper.join()


def test_root_in_use_cannot_be_opened_again(root: Root, folder: Path) -> None:
    """Two engines in one folder would remove each other's work."""
    with pytest.raises(StartupError, match="in use"):
        Root(folder)


def test_root_that_is_a_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError):
        Root(tmp_path / "file")


def test_root_that_is_missing_is_made_private(root: Root, folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
