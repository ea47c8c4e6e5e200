"""All storage at once, some of it dead."""

import asyncio
import threading
import time

from engine_events.v1 import events_pb2

from host_engine.mounts import Mount, measure
from host_engine.storage import StorageCollector


async def test_storage_of_this_machine_is_sorted_and_has_its_root() -> None:
    storage = await StorageCollector().collect()
    names = [pool.name for pool in storage.pools]
    assert names == sorted(names)
    root = next(pool for pool in storage.pools if pool.name == "/")
    assert root.state == events_pb2.POOL_STATE_ONLINE
    assert root.size > 0


async def test_file_system_that_hangs_is_unavailable_and_not_asked_twice() -> None:
    """As `statvfs` does on a dead NFS server: one thread waits, the answers go on coming, and quickly."""
    release = threading.Event()
    asked: list[str] = []

    def hang(mount: Mount) -> events_pb2.StoragePool | None:
        asked.append(mount.mount_point)
        release.wait(10)
        return measure(mount)

    collector = StorageCollector(hang)
    async with asyncio.timeout(5):
        first = await collector.collect()
        begun_s = time.monotonic()
        second = await collector.collect()
        assert time.monotonic() - begun_s < 0.5
        for storage in (first, second):
            assert {pool.state for pool in storage.pools if pool.mount_point} == {events_pb2.POOL_STATE_UNAVAIL}
        assert len(asked) == len(set(asked))
        release.set()
        while (await collector.collect()).pools[0].state != events_pb2.POOL_STATE_ONLINE:
            pass


async def test_file_system_that_fails_is_unavailable_and_hides_no_other() -> None:
    def fail(mount: Mount) -> events_pb2.StoragePool | None:
        raise OSError(5, "Input/output error")

    storage = await StorageCollector(fail).collect()
    assert {pool.state for pool in storage.pools if pool.mount_point} == {events_pb2.POOL_STATE_UNAVAIL}


async def test_file_system_not_for_this_user_is_left_out() -> None:
    def refuse(mount: Mount) -> events_pb2.StoragePool | None:
        raise PermissionError

    assert [pool for pool in (await StorageCollector(refuse).collect()).pools if pool.mount_point] == []
