"""What most of these tests start from: a ROOT of their own, and an engine in this process."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from host_engine.rootdir import Root
from tests.host_engine.inprocess import RunningEngine, running_engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The path of ROOT; not made yet."""
    return tmp_path / "root"


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    root = Root(folder)
    yield root
    root.close()


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[RunningEngine]:
    async with running_engine(folder) as engine:
        yield engine
