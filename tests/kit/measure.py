"""What was measured when a fault was injected, kept beside the promise; `python -m tests.kit.measure FILE` shows it."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

__all__ = ["Measurement", "Measurements", "machine", "read", "render"]


@dataclass(frozen=True)
class Measurement:
    """One run of one fault."""

    fault: str
    """What went wrong: "engine killed"."""
    injected_by: str
    """How: "SIGKILL"."""
    promise: str
    """What should happen, in words."""
    limit: float
    """The most that `measured` may be."""
    measured: float
    unit: str
    machine: str

    @property
    def is_kept(self) -> bool:
        """Whether the promise held."""
        return self.measured <= self.limit


class Measurements:
    """Appends to a file of JSON lines, if there is one, and remembers its own."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: nothing is written."""
        self.path = path
        self.taken: list[Measurement] = []

    @classmethod
    def from_environment(cls) -> Self:
        """Into the file that FAULT_MEASUREMENTS names; nowhere if it is not set."""
        name = os.environ.get("FAULT_MEASUREMENTS")
        return cls(Path(name) if name else None)

    def record(
        self, *, fault: str, injected_by: str, promise: str, limit: float, measured: float, unit: str = "s"
    ) -> Measurement:
        """Keeps a measurement, whether or not the promise held, and gives it: assert its `is_kept`."""
        taken = Measurement(fault, injected_by, promise, limit, measured, unit, machine())
        self.taken.append(taken)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(taken)) + "\n")
        return taken

    def assert_kept(
        self, *, fault: str, injected_by: str, promise: str, limit: float, measured: float, unit: str = "s"
    ) -> None:
        """`record`, and AssertionError if the promise did not hold."""
        taken = self.record(
            fault=fault, injected_by=injected_by, promise=promise, limit=limit, measured=measured, unit=unit
        )
        assert taken.is_kept, f"{fault} ({injected_by}): {promise}: {measured:.3f} {unit}, at most {limit} {unit}"


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"


def read(path: Path) -> list[Measurement]:
    """The measurements in a file."""
    return [Measurement(**json.loads(line)) for line in path.read_text().splitlines() if line]


def render(measurements: Iterable[Measurement]) -> str:
    """A Markdown table, a row for each promise on each machine, in the order in which they were first measured."""
    rows: dict[tuple[str, str, str, str, str, float], list[float]] = {}
    for taken in measurements:
        key = (taken.fault, taken.injected_by, taken.promise, taken.machine, taken.unit, taken.limit)
        rows.setdefault(key, []).append(taken.measured)
    lines = [
        "| fault | injected by | promise | runs | median | worst | machine |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for (fault, injected_by, promise, where, unit, limit), values in rows.items():
        worst = _shown(max(values), unit)
        if max(values) > limit:
            worst = f"**{worst}**"
        cells = [fault, injected_by, promise, str(len(values)), _shown(statistics.median(values), unit), worst, where]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float, unit: str) -> str:
    """To three digits, and no finer than a millionth: what differences of times leave behind below that is nothing."""
    return f"{round(value, 6) + 0.0:.3g} {unit}"  # + 0.0 makes -0.0 0


if __name__ == "__main__":
    sys.stdout.write(render(taken for name in sys.argv[1:] for taken in read(Path(name))))
