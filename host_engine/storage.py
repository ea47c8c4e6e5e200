"""All storage of this machine: file systems, software RAID, ZFS. Whatever hangs is asked in a thread with a deadline,
told as UNAVAIL, and not asked again before it answers."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from engine_events.v1 import events_pb2

from host_engine.errors import TooBusy
from host_engine.mdstat import parse_mdstat
from host_engine.mounts import Mount, list_mounts, measure, pool_of, real_mounts
from host_engine.threads import Threads
from host_engine.zpool import ask_zpool, parse_zpools

__all__ = ["StorageCollector"]

log = structlog.get_logger()

T = TypeVar("T")

_MDSTAT = Path("/proc/mdstat")
# a healthy local file system answers within a millisecond, a distant server within a few hundred
_ANSWER_S = 1.0
_MAX_THREADS = 256


class StorageCollector:
    """Looks at everything at once, so one look takes no longer than its slowest part is allowed to."""

    def __init__(self, measure_mount: Callable[[Mount], events_pb2.StoragePool | None] = measure) -> None:
        """`measure_mount`: how one file system is looked at; blocking."""
        self._measure = measure_mount
        self._threads = Threads(_MAX_THREADS)
        self._zfs: list[events_pb2.StoragePool] = []
        self._zfs_fails = False

    async def collect(self) -> events_pb2.StorageUpdate:
        """Every pool, sorted by name. OSError, TimeoutError: not even the list of what is mounted can be read."""
        now_s = time.time()
        mounts = real_mounts(await self._ask("mounts", list_mounts))
        arrays, zfs, file_systems = await asyncio.gather(
            self._arrays(), self._zfs_pools(), asyncio.gather(*(self._file_system(mount) for mount in mounts))
        )
        pools: dict[str, events_pb2.StoragePool] = {}
        places = {mount.device: mount.mount_point for mount in mounts}
        for pool in (*(pool for pool in file_systems if pool is not None), *arrays, *zfs):
            if pool.type == "zfs" and pool.mount_point not in ("", "/") and zfs:
                continue  # a data set: its pool is listed
            if not pool.mount_point:
                pool.mount_point = places.get(pool.name) or places.get(f"/dev/{pool.name}", "")
            pools[pool.name if pool.name not in pools else f"{pool.name} ({pool.type})"] = pool
        for name, pool in pools.items():
            pool.name = name
        return events_pb2.StorageUpdate(pools=[pools[name] for name in sorted(pools)], timestamp=now_s)

    async def _file_system(self, mount: Mount) -> events_pb2.StoragePool | None:
        try:
            return await self._ask(f"mount {mount.mount_point}", lambda: self._measure(mount))
        except (PermissionError, FileNotFoundError):
            return None  # not for this user, or hidden below another mount: that says nothing about its health
        except (OSError, TimeoutError):
            return pool_of(mount, events_pb2.POOL_STATE_UNAVAIL)
        except TooBusy:
            return pool_of(mount, events_pb2.POOL_STATE_UNSPECIFIED)

    async def _arrays(self) -> list[events_pb2.StoragePool]:
        try:
            return parse_mdstat(await self._ask("mdstat", _MDSTAT.read_text))
        except FileNotFoundError:
            return []  # a kernel without software RAID

    async def _zfs_pools(self) -> list[events_pb2.StoragePool]:
        try:
            listed, status = await self._ask("zpool", ask_zpool)
        except TimeoutError:
            for pool in self._zfs:
                pool.state = events_pb2.POOL_STATE_UNAVAIL
            return [_copy(pool) for pool in self._zfs]
        except Exception as error:  # noqa: BLE001 - installed without its kernel module, or not for this user: no ZFS
            if not self._zfs_fails:
                log.info("zpool_not_usable", error=str(error))
            self._zfs_fails = True
            return []
        self._zfs_fails = False
        self._zfs = parse_zpools(listed, status)
        return [_copy(pool) for pool in self._zfs]

    async def _ask(self, name: str, call: Callable[[], T]) -> T:
        """TimeoutError: no answer in time, or still none to an earlier question."""
        if self._threads.is_running(name):
            raise TimeoutError
        future = self._threads.start(name, call)
        await asyncio.wait({future}, timeout=_ANSWER_S)
        if not future.done():
            log.warning("storage_hangs", what=name)
            raise TimeoutError
        return future.result()


def _copy(pool: events_pb2.StoragePool) -> events_pb2.StoragePool:
    copy = events_pb2.StoragePool()
    copy.CopyFrom(pool)
    return copy
