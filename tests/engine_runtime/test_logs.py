"""What goes into a program's log, in a process of its own: logging is set up for a whole process."""

import subprocess
import sys

PROGRAM = """
import asyncio, logging
from engine_runtime import logs
logs.configure("program")
try:
    raise {error}
except BaseException:
    logging.getLogger("grpc._cython.cygrpc").exception("servicer method failed")
"""


def logged(error: str) -> str:
    """What a program writes to standard error when grpc.aio tells of this error of a call."""
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr


def test_call_that_grpc_cancels_itself_is_not_logged_as_a_mistake() -> None:
    """Every other error is, on one line."""
    assert logged("asyncio.CancelledError") == ""
    line = logged("ValueError('wrong')")
    assert line.count("\n") == 1
    assert "ValueError: wrong" in line
