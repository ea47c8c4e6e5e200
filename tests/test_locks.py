"""What is installed is what is locked: the locks agree with pyproject.toml and with one another, and are audited."""

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from locks.audit import audit
from locks.renew import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMES = ("run", *EXTRAS)
_PINNED = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^ ;\\]+)")


def locked(name: str) -> Mapping[str, set[Version]]:
    """Versions by package: several where they depend on Python's."""
    versions: dict[str, set[Version]] = {}
    for line in (ROOT / "locks" / f"{name}.txt").read_text().splitlines():
        if line[:1].strip() and (pinned := _PINNED.match(line)):
            versions.setdefault(canonicalize_name(pinned["name"]), set()).add(Version(pinned["version"]))
    return versions


def wanted(name: str) -> list[Requirement]:
    extras: Mapping[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    texts = PROJECT["project"]["dependencies"] + extras["gen"] if name == "run" else extras[name]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", NAMES)
def test_every_direct_dependency_is_locked_at_a_version_that_it_allows(name: str) -> None:
    """`make lock` was run after pyproject.toml was changed."""
    versions = locked(name)
    for requirement in wanted(name):
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in locks/{name}.txt: make lock"
        assert all(version in requirement.specifier for version in found), (
            f"{requirement} is locked at {found}: make lock"
        )


def test_every_extra_has_its_lock() -> None:
    """gen is in that of `run`, and holds what builds the package, which is built without a network."""
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert extras - {"gen"} == set(EXTRAS) == {path.stem for path in (ROOT / "locks").glob("*.txt")} - {"run"}
    assert set(PROJECT["build-system"]["requires"]) <= set(PROJECT["project"]["optional-dependencies"]["gen"])


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes_and_no_address(name: str) -> None:
    """Wherever a package comes from, it is the one that was locked."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert len(entries) == sum(len(versions) for versions in locked(name).values())


def test_locks_fit_together() -> None:
    """Whatever is installed after another lock leaves what that one brought."""
    first: dict[str, set[Version]] = {}
    for name in NAMES:
        for package, versions in locked(name).items():
            assert versions <= first.setdefault(package, versions), f"{package} in locks/{name}.txt"


@pytest.mark.parametrize(
    ("told", "status", "text"),
    [
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}], 1, "a 1: CVE-1"),
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 locked packages audited, nothing known"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "not audited: no vulnerability service can be reached"),
        ([], 0, "not audited: no vulnerability service can be reached"),
        (None, 0, "not audited: no vulnerability service can be reached"),
    ],
)
def test_audit_fails_on_a_finding_and_on_nothing_else(told: object, status: int, text: str) -> None:
    """A command stands in for pip-audit, which ends with 1 for a finding and for a network that is not there."""
    printed = "" if told is None else json.dumps({"dependencies": told, "fixes": []})
    assert audit([sys.executable, "-c", f"print({printed!r}); raise SystemExit(1)"]) == (status, text)
