"""One program as a child process: started on a free port, hurt by signals, watched through /proc, always ended."""

import asyncio
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit.netns import Place
from tests.kit.proc import children, listening_inodes, socket_inodes
from tests.kit.waiting import until

__all__ = ["Exit", "Program", "complaints_in", "end_all", "free_port"]

_REPOSITORY = Path(__file__).resolve().parents[2]
_LAUNCHER = Path(__file__).with_name("launch.py")
_OUR_SETTINGS = ("HOST_ENGINE_", "ENGINE_BRIDGE_", "WS_GATEWAY_")
_STOP_S = 6.0  # a program promises 5

# What must never stand in a program's standard error, whatever was done to it.
_COMPLAINTS = re.compile(
    r"Traceback \(most recent call last\)|never retrieved|was never awaited|Task was destroyed|"
    r"Exception ignored in|ResourceWarning|Unclosed |Unhandled exception|Exception in callback|"
    r"Fatal Python error|Segmentation fault|AssertionError"
)
_COMPLAINT_LINES = 60
_CANCELLED_EARLY = re.compile(r"grpc\._cython\.cygrpc\._schedule_rpc_coro\nasyncio\.exceptions\.CancelledError$")
"""What gRPC itself prints for a call that its client cancels before the server has begun with it: no mistake of ours,
and nothing is lost by it."""

# Below the range from which the kernel takes ports for outgoing connections (32768 up), or one of those could take
# the port of a killed program before it is started again.
_PORTS = range(20_000, 32_000)
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on and that this process has not given out before."""
    while True:
        port = random.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _given.add(port)
        return port


def complaints_in(text: str) -> list[str]:
    """What in a standard error tells of a mistake in the program itself: tracebacks, lost tasks, leaks. Each with the
    lines that follow it, up to the next line of the log or the next complaint."""
    found: list[list[str]] = []
    open_ended = False
    for line in text.splitlines():
        if _COMPLAINTS.search(line):
            found.append([line[:2000]])
            open_ended = not line.startswith("{")
        elif line.startswith("{"):
            open_ended = False
        elif open_ended and len(found[-1]) < _COMPLAINT_LINES:
            found[-1].append(line[:2000])
    blocks = ["\n".join(lines) for lines in found]
    return [block for block in blocks if not _CANCELLED_EARLY.search(block)]


@dataclass(frozen=True)
class Exit:
    """How a program ended."""

    status: int
    """Exit status; negative: the signal that ended it."""
    seconds: float
    """From the signal to the end."""


class Program:
    """One program in its own process group. Not started until `start`; an async context manager that starts and ends.

    `settings` are environment variables and may be changed until the next start. `listen`: the name of the variable, or
    the flag (starting with --), that takes HOST:PORT. `directory`: working directory, also holds NAME.stderr.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *,
        listen: str,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        place: Place | None = None,
        port: int | None = None,
    ) -> None:
        self.name = name
        self.place = place or Place()
        self.port = port or free_port()
        self.settings = dict(settings or {})
        self.arguments = arguments
        self.directory = directory
        self.stderr_path = directory / f"{name}.stderr"
        self._module = module
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None
        self._group_may_live = False

    @property
    def address(self) -> str:
        """HOST:PORT that it listens on."""
        return f"{self.place.host}:{self.port}"

    @property
    def grpc_url(self) -> str:
        """Its address as a setting of the bridge or the gateway."""
        return f"grpc://{self.address}"

    @property
    def pid(self) -> int:
        """Process id of the present, or the last, run."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there (stopped by SIGSTOP counts)."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status of the last run, negative for a signal; None: running, or never started."""
        return None if self._process is None else self._process.poll()

    async def start(self, *, within_s: float = 20.0, wait: bool = True) -> float:
        """Starts it and waits until it listens (unless `wait` is False); gives the seconds that took.

        AssertionError, with what it wrote to standard error: it ended, or did not listen in time.
        """
        assert not self.is_running, f"{self.name} is running already"
        started_s = time.monotonic()
        with self.stderr_path.open("ab") as stderr:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would tie the process to one loop
                self._command(),
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
            self._group_may_live = True
        if wait:
            await self.wait_listening(within_s=within_s)
        return time.monotonic() - started_s

    async def wait_listening(self, *, within_s: float = 20.0) -> None:
        """Waits until it accepts connections. AssertionError: it ended, or not in time."""
        try:
            await until(
                lambda: not self.is_running or self._is_listening(),
                within_s=within_s,
                what=f"{self.name} listens on {self.address}",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stderr_tail()}") from None
        if not self.is_running:
            raise AssertionError(f"{self.name} ended with status {self.status}:\n{self.stderr_tail()}")

    async def kill(self) -> Exit:
        """SIGKILL to the whole group, and waits for the end. Does nothing to a program that has ended."""
        return await self._end(signal.SIGKILL, _STOP_S)

    async def terminate(self, *, within_s: float = _STOP_S) -> Exit:
        """SIGTERM to the program, and waits for the end. AssertionError: it is still there after that time."""
        return await self._end(signal.SIGTERM, within_s)

    def stop(self) -> None:
        """SIGSTOP: the process is frozen, its sockets stay open and the kernel goes on acknowledging."""
        os.killpg(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: thaws it."""
        os.killpg(self.pid, signal.SIGCONT)

    def send_signal(self, number: signal.Signals) -> None:
        """Any signal, to the program alone."""
        os.kill(self.pid, number)

    async def restart(self, *, within_s: float = 20.0) -> float:
        """Kills it if it runs, and starts it on the same port with the present settings; gives start's seconds."""
        await self.kill()
        return await self.start(within_s=within_s)

    async def wait_ended(self, *, within_s: float = 5.0) -> int:
        """Waits until it ends by itself; gives its status. AssertionError: it still runs after that time."""
        await until(lambda: not self.is_running, within_s=within_s, what=f"{self.name} ends")
        assert self.status is not None
        return self.status

    def limit_descriptors(self, count: int) -> None:
        """From now on it can have at most this many descriptors (RLIMIT_NOFILE); those it has stay open."""
        resource.prlimit(
            self.pid, resource.RLIMIT_NOFILE, (count, resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1])
        )

    def rss_bytes(self) -> int:
        """Memory in use (VmRSS)."""
        return int(self._proc_status("VmRSS").split()[0]) * 1024

    def thread_count(self) -> int:
        """Threads of the process."""
        return int(self._proc_status("Threads"))

    def descriptor_count(self) -> int:
        """Open descriptors of the process."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def cpu_s(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stderr(self) -> str:
        """Everything it wrote to standard error and output, over all runs."""
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def stderr_tail(self, lines: int = 40) -> str:
        """The last lines of that, under a heading, for a failure message."""
        tail = self.stderr().splitlines()[-lines:]
        return "\n".join([f"--- the last of {self.name}'s standard error:", *tail])

    def logs(self, event: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines of its log, all or those of one event; lines that are not JSON objects are left out."""
        parsed = [_json_object(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [line for line in parsed if line is not None and (event is None or line.get("event") == event)]

    async def wait_logged(self, event: str, *, count: int = 1, within_s: float = 5.0) -> dict[str, Any]:
        """Waits until an event was logged that many times; gives the last of them. AssertionError: not in time."""
        await until(
            lambda: len(self.logs(event)) >= count, within_s=within_s, what=f"{self.name} logs {event} {count} times"
        )
        return self.logs(event)[-1]

    def complaints(self) -> list[str]:
        """What `complaints_in` finds in its standard error."""
        return [f"{self.name}: {line}" for line in complaints_in(self.stderr())]

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end_all([self], error)

    def _command(self) -> list[str]:
        command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        if self.place.namespace is not None:
            ip = shutil.which("ip")
            assert ip is not None
            command += [ip, "netns", "exec", self.place.namespace]
        command += [sys.executable, "-m", self._module, *self.arguments]
        if self._listen.startswith("--"):
            command += [self._listen, self.address]
        return command

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OUR_SETTINGS)}
        ours = {
            "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), str(_REPOSITORY / "proto/gen")]),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        if not self._listen.startswith("--"):
            ours[self._listen] = self.address
        return inherited | ours | self.settings

    def _is_listening(self) -> bool:
        """Whether this very program listens on its port (another may), and takes a connection where we can try."""
        family = [self.pid, *children(self.pid)]
        if not listening_inodes(self.pid, self.port) & {inode for pid in family for inode in socket_inodes(pid)}:
            return False
        if self.place.namespace is not None:
            return True  # its addresses cannot be reached from here
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex((self.place.host, self.port)) == 0

    def _proc_status(self, field: str) -> str:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        raise AssertionError(f"/proc/{self.pid}/status has no {field}: the process has ended")

    async def _end(self, number: signal.Signals, within_s: float) -> Exit:
        if self._process is None:
            return Exit(0, 0.0)
        seconds = 0.0
        if self.is_running:
            if number is signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
            seconds = await until(
                lambda: not self.is_running, within_s=within_s, what=f"{self.name} ends after {number.name}"
            )
        if self._group_may_live:  # whatever it started itself; only once, the number may be given to others
            self._group_may_live = False
            _kill_group(self.pid)
        assert self._process.returncode is not None
        return Exit(self._process.returncode, seconds)


async def end_all(programs: list[Program], error: BaseException | None, *, allowed: Sequence[str] = ()) -> None:
    """Ends them with SIGTERM, after a failure with SIGKILL; raises for what went wrong, or annotates the failure."""
    wrong: list[str] = []
    try:
        if error is None:
            wrong = await _terminate_all(programs)
    finally:
        for program in programs:
            await program.kill()
    if error is not None:
        for program in programs:
            error.add_note(program.stderr_tail())
        return
    complaints = [line for program in programs for line in program.complaints()]
    wrong += [line for line in complaints if not any(re.search(pattern, line) for pattern in allowed)]
    if wrong:
        tails = "\n".join(program.stderr_tail() for program in programs)
        raise AssertionError("\n".join([*wrong, tails]))


async def _terminate_all(programs: list[Program]) -> list[str]:
    running = [program for program in programs if program.is_running]
    for program in running:
        program.cont()  # a frozen program cannot stop
    ends = await asyncio.gather(*(program.terminate() for program in running), return_exceptions=True)
    wrong: list[str] = []
    for program, end in zip(running, ends, strict=True):
        if isinstance(end, AssertionError):
            wrong.append(str(end))
        elif isinstance(end, BaseException):
            raise end
        elif end.status != 0:
            wrong.append(f"{program.name} ended with status {end.status} after SIGTERM")
    return wrong


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
