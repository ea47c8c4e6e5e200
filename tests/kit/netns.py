"""Network namespaces joined by a switch, whose cables can be cut without either end being told. Needs root.

Each namespace has an address of its own and a loopback of its own. All of them hang on a bridge device in one more
namespace, so nothing in the machine's own network is touched. A *blackhole* takes a cable off the bridge: both ends
keep carrier, address and route, and, since neighbours are entered for good (no ARP that could fail), the kernel at
neither end ever says "no route" or "unreachable": packets vanish, as behind a dead router. Compare: with the peer's
address deleted or the cable cut but neighbours left to ARP, a new connection fails with EHOSTUNREACH after 3 s.
"""

import ctypes
import functools
import itertools
import os
import re
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

__all__ = ["Network", "Place", "available", "socket_in", "sweep", "why_unavailable"]

_PREFIX = "kit"
_NAME = re.compile(rf"{_PREFIX}-(?P<pid>\d+)-\d+-[a-z0-9]+")
_CLONE_NEWNET = 0x40000000  # setns(2)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Where a program runs: the address that it listens on, and the namespace that this address is in."""

    host: str = "127.0.0.1"
    namespace: str | None = None
    """None: the test's own."""


@functools.cache
def why_unavailable() -> str | None:
    """Why namespaces cannot be used here, in one line naming what is missing; None: they can."""
    if shutil.which("ip") is None:
        return "network namespaces need the `ip` tool (package iproute2)"
    if os.geteuid() != 0:
        return "network namespaces (`ip netns`) need root"
    name = f"{_PREFIX}-{os.getpid()}-0-probe"
    added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    if added.returncode != 0:
        return f"`ip netns add` is refused here: {added.stderr.strip()}"
    return None


def available() -> bool:
    """Whether namespaces can be used here."""
    return why_unavailable() is None


def sweep() -> list[str]:
    """Deletes the namespaces that dead test processes left behind; gives their names."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    matches = [match for line in listed.splitlines() if (match := _NAME.match(line))]
    dead = [match[0] for match in matches if not Path(f"/proc/{match['pid']}").exists()]
    for name in dead:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return dead


def socket_in(
    namespace: str | None,
    family: int = socket.AF_INET,
    kind: int = socket.SOCK_STREAM,
    protocol: int = 0,
) -> socket.socket:
    """A new socket that belongs to a namespace for good, while this process stays where it is."""
    if namespace is None:
        return socket.socket(family, kind, protocol)
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # a namespace belongs to a thread: this one enters it, makes the socket, and ends
        try:
            with Path(f"/run/netns/{namespace}").open("rb") as handle:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns to {namespace}")
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name=f"socket in {namespace}")
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise result
    return result


class Network:
    """Namespaces by short name, all joined; a context manager. Skips the test, in one line, where it cannot be made."""

    def __init__(self, *names: str) -> None:
        if not all(re.fullmatch(r"[a-z0-9]{1,12}", name) for name in names):
            raise ValueError(f"names are 1 to 12 lower-case letters and digits: {names}")
        self._stem = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._switch = self.namespace("switch")
        self._numbers = {name: number for number, name in enumerate(names, start=1)}

    def namespace(self, name: str) -> str:
        """The full name of a namespace, as `ip netns` has it."""
        return f"{self._stem}-{name}"

    def address(self, name: str) -> str:
        """The IPv4 address of a namespace in this network."""
        return f"10.99.0.{self._numbers[name]}"

    def place(self, name: str, host: str | None = None) -> Place:
        """For a program: this namespace, listening on its address (None) or on another, say 127.0.0.1."""
        return Place(host or self.address(name), self.namespace(name))

    def blackhole(self, name: str) -> None:
        """From now on packets from and to this namespace vanish without a trace; connections stay up."""
        _ip(self._switch, f"link set dev {name} nomaster")

    def heal(self, name: str) -> None:
        """The cable is back. On a network that was not cut this changes nothing."""
        _ip(self._switch, f"link set dev {name} master switch")

    def unplug(self, name: str) -> None:
        """Pulls the cable so that this end sees it: it loses carrier. For the others this is a blackhole."""
        _ip(self._switch, f"link set dev {name} down")

    def plug(self, name: str) -> None:
        """Puts the cable back."""
        _ip(self._switch, f"link set dev {name} up")

    def __enter__(self) -> Self:
        reason = why_unavailable()
        if reason is not None:
            pytest.skip(reason)
        sweep()
        try:
            self._make()
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delete()

    def _make(self) -> None:
        for name in ("switch", *self._numbers):
            _run("ip", "netns", "add", self.namespace(name))
        _ip(self._switch, "link add switch type bridge", "link set switch up")
        for name, number in self._numbers.items():
            _ip(
                self.namespace(name),
                "link set lo up",
                f"link add eth0 address {_mac(number)} type veth peer name {name} netns {self._switch}",
                f"address add {self.address(name)}/24 dev eth0",
                "link set eth0 up",
                *(
                    f"neighbour replace {self.address(other)} lladdr {_mac(other_number)} nud permanent dev eth0"
                    for other, other_number in self._numbers.items()
                    if other != name
                ),
            )
            _ip(self._switch, f"link set dev {name} master switch up")

    def _delete(self) -> None:
        for name in (*self._numbers, "switch"):
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], capture_output=True, check=False)


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def _ip(namespace: str, *commands: str) -> None:
    _run("ip", "-netns", namespace, "-batch", "-", text="".join(f"{command}\n" for command in commands))


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()} ({text!r})")
