"""`python -m tests.faults RUNS DOCUMENT`: injects every fault, and writes what was measured into the document.

Those that take minutes go on beside the rest, each with several samples of its own; everything else RUNS times, the
last time with the waits as long as the default settings make them. Ends with status 1 if a promise was not kept.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.kit.document import with_table
from tests.kit.measure import read, render

__all__ = ["main"]

_TESTS = "tests/faults"


def main() -> None:
    """Runs the tests, and writes the table in any case: it shows in bold what was not kept."""
    runs, document = int(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        waiting = _start_long(Path(directory))
        statuses = []
        for run in range(1, runs + 1):
            long = run == runs
            statuses.append(_pytest(["-m", "not long", _TESTS], Path(directory, f"run-{run}"), long=long).wait())
        statuses += [process.wait() for process in waiting]
        files = sorted(Path(directory).iterdir(), key=lambda file: (file.name.startswith("long-"), file.name))
        taken = [measurement for file in files for measurement in read(file)]
    document.write_text(with_table(document.read_text(), render(taken), "make faults"))
    if any(statuses) or not all(measurement.is_kept for measurement in taken):
        raise SystemExit(1)


def _start_long(directory: Path) -> list["subprocess.Popen[bytes]"]:
    """They do next to nothing while they wait, so they do not disturb one another, nor the rest."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "long", _TESTS],
        env=_environment({"FAULTS_LONG": "1"}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [line for line in listed.splitlines() if "::" in line]
    return [_pytest([name], directory / f"long-{index}", long=True) for index, name in enumerate(names)]


def _pytest(arguments: list[str], measured: Path, *, long: bool) -> "subprocess.Popen[bytes]":
    settings = {"FAULT_MEASUREMENTS": str(measured)}
    if long:
        settings["FAULTS_LONG"] = "1"
    measured.touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.Popen(command, env=_environment(settings))


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "FAULTS_LONG"} | dict(settings)


if __name__ == "__main__":
    main()
