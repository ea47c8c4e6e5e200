"""Which mounted file systems are storage, and how full each is."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from engine_events.v1 import events_pb2

__all__ = ["Mount", "list_mounts", "measure", "pool_of", "real_mounts"]

# the kernel's own views, memory, and what other entries of the list show already
# fmt: off
_NOT_STORAGE = frozenset({
    "autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs", "devpts",
    "devtmpfs", "efivarfs", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse", "fusectl", "hugetlbfs", "mqueue", "nsfs",
    "overlay", "proc", "pstore", "ramfs", "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tmpfs",
    "tracefs",
})
# fmt: on
# read-only images: always full, and no trouble
_IMAGES = frozenset({"cramfs", "erofs", "iso9660", "squashfs", "udf"})
# single files that container runtimes mount from the host
_CONTAINER_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    mount_point: str
    device: str
    type: str


def list_mounts() -> list[Mount]:
    """Everything mounted. Touches none of it, so no dead server can hang this. OSError: the list cannot be read."""
    return [Mount(part.mountpoint, part.device, part.fstype) for part in psutil.disk_partitions(all=True)]


def real_mounts(mounts: Iterable[Mount]) -> list[Mount]:
    """Those that are storage, each device once, at its shortest mount point; `/` always."""
    chosen: dict[str, Mount] = {}
    # of two mounted at one place the later covers; `/` is the shortest, so its device is listed there
    covering = {mount.mount_point: mount for mount in mounts}
    for mount in sorted(covering.values(), key=lambda mount: (len(mount.mount_point), mount.mount_point)):
        if mount.mount_point == "/" or _is_storage(mount):
            chosen.setdefault(_identity(mount), mount)
    if not any(mount.mount_point == "/" for mount in chosen.values()):
        chosen["/"] = Mount("/", "", "")
    return sorted(chosen.values(), key=lambda mount: mount.mount_point)


def _is_storage(mount: Mount) -> bool:
    return mount.type not in _NOT_STORAGE | _IMAGES and mount.mount_point not in _CONTAINER_FILES


def _identity(mount: Mount) -> str:
    """The same for two mounts of one device. A device without a path or server (`none`, `overlay`) tells nothing."""
    return mount.device if "/" in mount.device or ":" in mount.device else mount.mount_point


def measure(mount: Mount) -> events_pb2.StoragePool | None:
    """How full it is now. None: nothing to store in (no size, or a single file). OSError: it cannot be reached.

    Blocks for as long as a dead server lets it: called in a thread.
    """
    room = os.statvfs(mount.mount_point)
    is_root = mount.mount_point == "/"
    if not is_root and (room.f_blocks == 0 or not stat.S_ISDIR(Path(mount.mount_point).stat().st_mode)):
        return None
    pool = pool_of(mount, events_pb2.POOL_STATE_ONLINE)
    pool.size = room.f_blocks * room.f_frsize
    pool.allocated = (room.f_blocks - room.f_bfree) * room.f_frsize
    pool.free = room.f_bavail * room.f_frsize
    usable = room.f_blocks - room.f_bfree + room.f_bavail  # without what is reserved for root, as df counts
    if usable:
        pool.capacity_pct = 100.0 * (room.f_blocks - room.f_bfree) / usable
    return pool


def pool_of(mount: Mount, state: events_pb2.PoolState.ValueType) -> events_pb2.StoragePool:
    """The pool without figures."""
    return events_pb2.StoragePool(
        name=mount.mount_point, type=mount.type, state=state, mount_point=mount.mount_point, device=mount.device
    )
