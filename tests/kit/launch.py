"""Becomes the command given, after asking the kernel to kill it when the test process dies: nothing is left behind.

Run as `python -I -S launch.py PARENT_PID COMMAND …`; it replaces itself, so the process id stays the same.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Sets the death signal and becomes the command."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        raise SystemExit("the test process died before its program started")
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main()
