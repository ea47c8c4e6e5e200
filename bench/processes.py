"""Programs as child processes, each pinned to a core, and what they use of it."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

__all__ = ["CLIENT_CORE", "OUT", "REPOSITORY", "SERVER_CORE", "Child", "busy_s", "free_port"]

REPOSITORY = Path(__file__).resolve().parents[1]
OUT = REPOSITORY / "bench" / "out"
"""Everything that is downloaded, built or logged."""

SERVER_CORE = 0
CLIENT_CORE = max(os.sched_getaffinity(0))
"""The load client, the publisher, the engine and the bridge are all here."""


class Child:
    """One program, pinned. A context manager; on leaving it is ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        name: str,
        settings: Mapping[str, str] | None = None,
        directory: Path = REPOSITORY,
    ) -> None:
        self.name = name
        self._log_path = OUT / f"{name}.log"
        paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "proto" / "gen")])
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **(settings or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # before any thread starts
            )
        self._pending = b""

    @classmethod
    def python(cls, module: str, *arguments: str, core: int, settings: Mapping[str, str] | None = None) -> Self:
        """`python -m MODULE ARGUMENT…`."""
        name = module.replace(".", "-").replace("_", "-")
        return cls([sys.executable, "-m", module, *arguments], core=core, name=name, settings=settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin is not None
        stdin.write(line.encode() + b"\n")
        stdin.flush()

    def hear(self, within_s: float) -> str:
        """The next line of its standard output. RuntimeError: none came in time, or it has ended."""
        stdout: IO[bytes] | None = self._process.stdout
        assert stdout is not None
        deadline_s = time.monotonic() + within_s
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            ready = left_s > 0 and select.select([stdout], [], [], left_s)[0]
            data = os.read(stdout.fileno(), 1 << 20) if ready else b""
            if not data:
                raise RuntimeError(f"{self.name} said nothing within {within_s:g} s; see {self._log_path.name}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def cpu_s(self) -> float:
        """Processor time of all its threads, user and system, to the nanosecond."""
        total_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                total_ns += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
        return total_ns / 1e9

    def split_s(self) -> tuple[float, float, float]:
        """The same in parts: its first thread's own time, the kernel's time for that one (both to some hundredths of a
        second), and the time of all other threads."""
        first = Path(f"/proc/{self.pid}/task/{self.pid}")
        fields = (first / "stat").read_text().rpartition(")")[2].split()
        user_s, system_s = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
        first_s = int((first / "schedstat").read_text().split()[0]) / 1e9
        return user_s, system_s, self.cpu_s() - first_s

    def pss_bytes(self) -> int:
        """Memory that would come free if it ended."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self.name} has no Pss")

    def wait_listening(self, port: int, within_s: float = 20.0) -> None:
        """Until somebody takes connections on `port`. RuntimeError: nobody does, or it has ended."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen; see {self._log_path.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """SIGTERM, and after 5 s SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


def busy_s(core: int) -> float:
    """Seconds that a core has worked, for whomever."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            fields = [int(field) for field in line.split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError(f"no core {core}")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
