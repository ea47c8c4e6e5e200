"""ZFS pools, as `zpool list` and `zpool status` tell them. Parsing is pure; asking blocks: done in a thread."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field

from engine_events.v1 import events_pb2

__all__ = ["ask_zpool", "parse_zpools"]

_COLUMNS = "name,size,allocated,free,capacity,health"
_ASK_S = 5.0
_STATES = {
    "ONLINE": events_pb2.POOL_STATE_ONLINE,
    "DEGRADED": events_pb2.POOL_STATE_DEGRADED,
    "FAULTED": events_pb2.POOL_STATE_FAULTED,
    "SUSPENDED": events_pb2.POOL_STATE_FAULTED,
    "OFFLINE": events_pb2.POOL_STATE_OFFLINE,
    "UNAVAIL": events_pb2.POOL_STATE_UNAVAIL,
    "REMOVED": events_pb2.POOL_STATE_UNAVAIL,
}
_ROW = re.compile(r"\t(?P<indent> *)(?P<name>\S+) +[A-Z]+ +(?P<read>\d+) +(?P<write>\d+) +(?P<checksum>\d+)(?:\s.*)?")


@dataclass(slots=True)
class _Row:
    depth: int
    name: str
    counts: tuple[int, int, int]
    is_leaf: bool = True


@dataclass(slots=True)
class _Status:
    rows: list[_Row] = field(default_factory=list)

    def devices(self) -> str:
        return " ".join(row.name for row in self.rows if row.is_leaf and row.depth)

    def errors(self) -> tuple[int, ...]:
        """Read, write and checksum errors: those of the pool, or of its disks together if they are more. The pool's own
        row counts only what its redundancy could not make good."""
        leaves = [row.counts for row in self.rows if row.is_leaf]
        return tuple(max(self.rows[0].counts[kind], sum(leaf[kind] for leaf in leaves)) for kind in range(3))


def ask_zpool() -> tuple[str, str]:
    """The output of `zpool list` and of `zpool status`; both empty where there is no ZFS.

    OSError, subprocess.SubprocessError: it is there and cannot be asked.
    """
    program = shutil.which("zpool")
    if program is None:
        return "", ""
    return _run(program, "list", "-Hp", "-o", _COLUMNS), _run(program, "status", "-p")


def parse_zpools(listed: str, status: str) -> list[events_pb2.StoragePool]:
    """The pools that `zpool list -Hp` gave, with the errors that `zpool status -p` counts."""
    statuses = _parse_status(status)
    pools = []
    for line in listed.splitlines():
        fields = line.split("\t")
        if len(fields) != _COLUMNS.count(",") + 1:
            continue
        name, size, allocated, free, capacity, health = fields
        pool = events_pb2.StoragePool(
            name=name, type="zfs", state=_STATES.get(health, events_pb2.POOL_STATE_UNSPECIFIED)
        )
        # a pool that is not imported whole has `-` in place of figures
        if size.isdecimal() and allocated.isdecimal() and free.isdecimal():
            pool.size, pool.allocated, pool.free = int(size), int(allocated), int(free)
        if capacity.rstrip("%").isdecimal():
            pool.capacity_pct = float(capacity.rstrip("%"))
        found = statuses.get(name)
        if found is not None and found.rows:
            pool.device = found.devices()
            pool.read_errors, pool.write_errors, pool.checksum_errors = found.errors()
        pools.append(pool)
    return pools


def _parse_status(text: str) -> dict[str, _Status]:
    statuses: dict[str, _Status] = {}
    current = _Status()
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "pool":
            current = statuses.setdefault(value.strip(), _Status())
        elif row := _ROW.fullmatch(line):
            depth = len(row["indent"]) // 2
            if current.rows and current.rows[-1].depth < depth:
                current.rows[-1].is_leaf = False
            counts = (int(row["read"]), int(row["write"]), int(row["checksum"]))
            current.rows.append(_Row(depth, row["name"], counts))
    return statuses


def _run(program: str, *arguments: str) -> str:
    # a process that hangs in the kernel cannot be killed: then this waits on, in a thread that nobody waits for
    done = subprocess.run(  # noqa: S603 - the system's own program, with fixed arguments
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_ASK_S,
        check=True,
        env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.DEVNULL,
    )
    return done.stdout
