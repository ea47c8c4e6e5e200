"""Measurements are kept beside their promises, and shown."""

from pathlib import Path

import pytest

from tests.kit.measure import Measurements, machine, read, render


def take(measurements: Measurements, measured: float) -> bool:
    return measurements.record(
        fault="engine killed", injected_by="SIGKILL", promise="stale told", limit=0.5, measured=measured
    ).is_kept


def test_measurement_is_written_kept_or_not(tmp_path: Path) -> None:
    """One JSON line each, and whether the promise held."""
    path = tmp_path / "measured.jsonl"
    measurements = Measurements(path)
    assert take(measurements, 0.5)
    assert not take(measurements, 0.51)
    assert read(path) == measurements.taken
    assert [taken.measured for taken in read(path)] == [0.5, 0.51]
    assert read(path)[0].machine == machine()


def test_broken_promise_fails_and_is_still_recorded() -> None:
    """The number that broke it is the one that matters."""
    measurements = Measurements(None)
    with pytest.raises(AssertionError, match=r"engine killed \(SIGKILL\): stale told: 0.700 s, at most 0.5 s"):
        measurements.assert_kept(
            fault="engine killed", injected_by="SIGKILL", promise="stale told", limit=0.5, measured=0.7
        )
    assert len(measurements.taken) == 1


def test_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nothing is written."""
    monkeypatch.delenv("FAULT_MEASUREMENTS", raising=False)
    assert Measurements.from_environment().path is None
    monkeypatch.setenv("FAULT_MEASUREMENTS", str(tmp_path / "m"))
    assert Measurements.from_environment().path == tmp_path / "m"


def test_table_has_a_row_for_each_promise() -> None:
    """Runs, median and worst; a broken promise stands out; a bar in a text does not break the table."""
    measurements = Measurements(None)
    for measured in (0.1, 0.3, 0.2):
        take(measurements, measured)
    measurements.record(fault="a|b", injected_by="RST", promise="freed", limit=1, measured=2, unit="MB")
    lines = render(measurements.taken).splitlines()
    assert lines[0] == "| fault | injected by | promise | runs | median | worst | machine |"
    assert lines[2] == f"| engine killed | SIGKILL | stale told | 3 | 0.2 s | 0.3 s | {machine()} |"
    assert lines[3] == f"| a\\|b | RST | freed | 1 | 2 MB | **2 MB** | {machine()} |"


def test_difference_that_is_nothing_is_shown_as_nothing() -> None:
    """0.3 - 0.1 - 0.2 is not quite 0."""
    measurements = Measurements(None)
    take(measurements, 0.3 - 0.1 - 0.2)
    assert "| 0 s | 0 s |" in render(measurements.taken)
