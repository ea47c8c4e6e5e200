"""`python locks/audit.py`: whether a known vulnerability is in anything that is locked. Ends with status 1 if so.

Where no service can be asked that knows of vulnerabilities it says so in one line, and that is no failure.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["audit", "main"]

_HERE = Path(__file__).parent
_WITHIN_S = 120
_ASK_S = 10


def audit(command: Sequence[str]) -> tuple[int, str]:
    """Status and text of one run of pip-audit, which ends alike for a finding and for a network that is not there, and
    takes a service that knows no package at all for good news."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return 0, "not audited: no vulnerability service can be reached"
    found = [(package, known) for package in told for known in package.get("vulns", ())]
    if found:
        lines = [f"{package['name']} {package['version']}: {known['id']}" for package, known in found]
        return 1, "\n".join(lines)
    asked = sum("skip_reason" not in package for package in told)
    if not asked:
        return 0, "not audited: no vulnerability service can be reached"
    return 0, f"{asked} of {len(told)} locked packages audited, nothing known"


def main() -> None:
    """Audits every lock."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--require-hashes", "--disable-pip", "--format=json"]
    command += ["--vulnerability-service=osv", "--progress-spinner=off", f"--timeout={_ASK_S}"]
    for lock in sorted(_HERE.glob("*.txt")):
        command += ["--requirement", str(lock)]
    status, text = audit(command)
    print(text)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
