"""Software RAID as the kernel tells it."""

import pytest
from engine_events.v1 import events_pb2

from host_engine.mdstat import parse_mdstat

HEALTHY = """\
Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]
md127 : active raid5 sdc1[3] sdb1[1] sda1[0]
      1953260544 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/3] [UUU]
      bitmap: 0/8 pages [0KB], 65536KB chunk

md0 : active (auto-read-only) raid1 sdb2[1] sda2[0]
      523712 blocks super 1.2 [2/2] [UU]

unused devices: <none>
"""


def one(text: str) -> events_pb2.StoragePool:
    pools = parse_mdstat("Personalities : [raid1]\n" + text + "\nunused devices: <none>\n")
    assert len(pools) == 1
    return pools[0]


def test_arrays_healthy_are_online() -> None:
    first, second = parse_mdstat(HEALTHY)
    assert (first.name, first.type, first.state) == ("md127", "raid5", events_pb2.POOL_STATE_ONLINE)
    assert first.device == "sda1 sdb1 sdc1"
    assert first.size == 1953260544 * 1024
    assert not first.HasField("allocated")
    assert (second.name, second.type, second.state) == ("md0", "raid1", events_pb2.POOL_STATE_ONLINE)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("md0 : active raid1 sdb1[1](F) sda1[0]\n      100 blocks [2/1] [U_]", "DEGRADED"),
        ("md0 : active raid1 sda1[0]\n      100 blocks [2/1] [U_]", "DEGRADED"),
        (
            "md0 : active raid1 sdb1[2] sda1[0]\n      100 blocks [2/1] [U_]\n"
            "      [=>...................]  recovery = 8.5% (1/2) finish=1.0min speed=1K/sec",
            "DEGRADED",
        ),
        (
            "md0 : active raid1 sdb1[1] sda1[0]\n      100 blocks [2/2] [UU]\n"
            "      [=>...................]  check = 8.5% (1/2) finish=1.0min speed=1K/sec",
            "ONLINE",
        ),
        ("md0 : active raid1 sdc1[2](S) sdb1[1] sda1[0]\n      100 blocks [2/2] [UU]", "ONLINE"),
        ("md0 : active raid1 sdc1[2] sdb1[1](F) sda1[0]\n      100 blocks [2/2] [UU]", "DEGRADED"),
        ("md0 : active raid5 sda1[0]\n      100 blocks level 5 [3/1] [U__]", "FAULTED"),
        ("md0 : active raid6 sdc1[2] sdd1[3]\n      100 blocks level 6 [4/2] [__UU]", "DEGRADED"),
        ("md0 : active raid0 sdb1[1] sda1[0]\n      100 blocks 512k chunks", "ONLINE"),
        ("md0 : broken raid0 sdb1[1] sda1[0]\n      100 blocks 512k chunks", "FAULTED"),
        ("md0 : inactive sdb1[1](S) sda1[0](S)\n      100 blocks super 1.2", "UNAVAIL"),
    ],
)
def test_array_gets_the_state_of_its_disks(text: str, state: str) -> None:
    assert one(text).state == events_pb2.PoolState.Value(f"POOL_STATE_{state}")


@pytest.mark.parametrize("text", ["", "Personalities : \nunused devices: <none>\n", "garbage\n\n : active"])
def test_text_without_arrays_gives_none(text: str) -> None:
    assert parse_mdstat(text) == []
