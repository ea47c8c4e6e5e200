"""Which mounted file systems are storage."""

from pathlib import Path

import pytest

from host_engine.mounts import Mount, list_mounts, measure, real_mounts

ROOT = Mount("/", "/dev/sda1", "ext4")


@pytest.mark.parametrize(
    ("mounts", "points"),
    [
        ([ROOT, Mount("/proc", "proc", "proc"), Mount("/run", "tmpfs", "tmpfs")], ["/"]),
        (
            [ROOT, Mount("/data", "/dev/sdb1", "xfs"), Mount("/mnt/nfs", "nas:/export", "nfs4")],
            ["/", "/data", "/mnt/nfs"],
        ),
        ([ROOT, Mount("/snap/core/1", "/dev/loop0", "squashfs")], ["/"]),
        ([Mount("/", "overlay", "overlay")], ["/"]),
        ([Mount("/", "overlay", "overlay"), Mount("/var/lib/docker/overlay2/x/merged", "overlay", "overlay")], ["/"]),
        ([Mount("/", "overlay", "overlay"), Mount("/etc/hosts", "/dev/sda1", "ext4")], ["/"]),
        ([Mount("/data", "/dev/sdb1", "xfs"), Mount("/bind/of/data", "/dev/sdb1", "xfs"), ROOT], ["/", "/data"]),
        ([ROOT, Mount("/run/netns", "/dev/sda1", "ext4")], ["/"]),
        ([Mount("/", "tmpfs", "tmpfs")], ["/"]),
        ([Mount("/", "rootfs", "rootfs"), ROOT], ["/"]),
        ([], ["/"]),
    ],
)
def test_mounts_that_are_storage_are_listed_once(mounts: list[Mount], points: list[str]) -> None:
    assert [mount.mount_point for mount in real_mounts(mounts)] == points


def test_mount_over_another_is_the_one_listed() -> None:
    assert real_mounts([Mount("/", "rootfs", "rootfs"), ROOT]) == [ROOT]


def test_machine_has_a_root() -> None:
    assert "/" in [mount.mount_point for mount in real_mounts(list_mounts())]


def test_measure_gives_the_figures_of_a_file_system(tmp_path: Path) -> None:
    pool = measure(Mount(str(tmp_path), "/dev/x", "ext4"))
    assert pool is not None
    assert 0 < pool.allocated <= pool.size
    assert pool.capacity_pct == pytest.approx(100 * pool.allocated / (pool.allocated + pool.free))


def test_measure_of_a_single_file_gives_nothing(tmp_path: Path) -> None:
    """Container runtimes mount single files."""
    (tmp_path / "file").touch()
    assert measure(Mount(str(tmp_path / "file"), "/dev/x", "ext4")) is None
