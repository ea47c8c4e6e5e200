"""`python -m tests.faults RUNS DOCUMENT`: injects every fault, and writes what was measured into the document.

Each RUNS times with waits as short as they can be. Beside that what waits for minutes, and the waits that are as long
as the default settings make them. Ends with status 1 if a promise was not kept.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.kit.document import with_table
from tests.kit.measure import read, render

__all__ = ["main"]

_TESTS = "tests/faults"
_OWN_SAMPLES = [
    f"{_TESTS}/test_engine_faults.py",
    f"{_TESTS}/test_engine_link.py",
    f"{_TESTS}/test_vanished_clients.py",
]
"""With long waits these have several samples in one run."""
_ONE_SAMPLE = [f"{_TESTS}/test_stalled_clients.py", f"{_TESTS}/test_reconnect_storm.py"]
"""These have one."""


def main() -> None:
    """Runs the tests, and writes the table in any case: it shows in bold what was not kept."""
    runs, document = int(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="faults-") as directory, ThreadPoolExecutor() as beside:
        into = Path(directory)
        waiting = [beside.submit(_pytest, [name], into / f"long-{index}", long=True) for index, name in _minutes()]
        waiting.append(beside.submit(_pytest, ["-m", "not long", *_OWN_SAMPLES], into / "long-waits", long=True))
        waiting.append(beside.submit(_repeatedly, ["-m", "not long", *_ONE_SAMPLE], into, runs))
        statuses = [_pytest(["-m", "not long", _TESTS], into / f"run-{run}", long=False) for run in range(runs)]
        statuses += [future.result() for future in waiting]
        files = sorted(into.iterdir(), key=lambda file: (file.name.startswith("long-"), file.name))
        taken = [measurement for file in files for measurement in read(file)]
    document.write_text(with_table(document.read_text(), render(taken), "make faults"))
    if any(statuses) or not all(measurement.is_kept for measurement in taken):
        raise SystemExit(1)


def _minutes() -> list[tuple[int, str]]:
    """The tests that wait for minutes, several samples in each, numbered. They do next to nothing while they wait."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "long", _TESTS],
        env=_environment({"FAULTS_LONG": "1"}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return list(enumerate(line for line in listed.splitlines() if "::" in line))


def _repeatedly(arguments: list[str], directory: Path, runs: int) -> int:
    return max(_pytest(arguments, directory / f"long-run-{run}", long=True) for run in range(runs))


def _pytest(arguments: list[str], measured: Path, *, long: bool) -> int:
    """Its exit status."""
    settings = {"FAULT_MEASUREMENTS": str(measured)}
    if long:
        settings["FAULTS_LONG"] = "1"
    measured.touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, env=_environment(settings), check=False).returncode


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "FAULTS_LONG"} | dict(settings)


if __name__ == "__main__":
    main()
