"""What every fault needs: recorders whose histories are judged at the end, and a file for what was measured."""

import os
from pathlib import Path

import pytest

from tests.end_to_end.conftest import connect
from tests.faults.wires import Wire, plain, tls
from tests.kit.measure import Measurements

__all__ = ["LONG", "connect", "measurements", "wire"]

LONG = os.environ.get("FAULTS_LONG") == "1"
"""Stalls and outages as long as with the default settings, not as short as they can be."""


@pytest.fixture(scope="session")
def measurements() -> Measurements:
    """Written to the file that FAULT_MEASUREMENTS names."""
    return Measurements.from_environment()


@pytest.fixture(params=["plain", "TLS"])
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Wire:
    """How clients reach the gateway: first plain, then over TLS."""
    return tls(tmp_path) if request.param == "TLS" else plain()
