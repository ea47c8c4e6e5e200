"""ZFS as its own programs tell it."""

import pytest
from engine_events.v1 import events_pb2

from host_engine.zpool import parse_zpools

STATUS = """\
  pool: backup
 state: ONLINE
config:

\tNAME        STATE     READ WRITE CKSUM
\tbackup      ONLINE       0     0     0
\t  sdd       ONLINE       0     0     0

errors: No known data errors

  pool: tank
 state: DEGRADED
status: One or more devices could not be used because the label is missing or
\tinvalid.  Sufficient replicas exist for the pool to continue
\tfunctioning in a degraded state.
action: Replace the device using 'zpool replace'.
  scan: scrub repaired 0B in 00:00:01 with 0 errors on Sun Jan  4 00:24:01 2026
config:

\tNAME                      STATE     READ WRITE CKSUM
\ttank                      DEGRADED     0     0     0
\t  mirror-0                DEGRADED     0     0     0
\t    sda                   ONLINE       3     0     7
\t    1234567890            UNAVAIL      0     2     0  was /dev/sdb1
\tlogs
\t  nvme0n1                 ONLINE       0     0     1

errors: No known data errors
"""
LISTED = "backup\t1000\t250\t750\t25\tONLINE\ntank\t4000787030016\t3600708327014\t400078703002\t90\tDEGRADED\n"


def test_pools_have_figures_devices_and_errors() -> None:
    backup, tank = parse_zpools(LISTED, STATUS)
    assert (backup.name, backup.state, backup.device) == ("backup", events_pb2.POOL_STATE_ONLINE, "sdd")
    assert (backup.read_errors, backup.write_errors, backup.checksum_errors) == (0, 0, 0)
    assert (tank.size, tank.allocated, tank.free, tank.capacity_pct) == (4000787030016, 3600708327014, 400078703002, 90)
    assert tank.state == events_pb2.POOL_STATE_DEGRADED
    assert tank.device == "sda 1234567890 nvme0n1"


def test_errors_of_disks_are_those_of_the_pool() -> None:
    """The pool's own row shows only what redundancy could not repair."""
    tank = parse_zpools(LISTED, STATUS)[1]
    assert (tank.read_errors, tank.write_errors, tank.checksum_errors) == (3, 2, 8)


def test_pool_faulted_has_no_figures() -> None:
    (pool,) = parse_zpools("tank\t-\t-\t-\t-\tFAULTED\n", "")
    assert pool.state == events_pb2.POOL_STATE_FAULTED
    assert not pool.HasField("size")
    assert not pool.HasField("capacity_pct")
    assert not pool.HasField("read_errors")


@pytest.mark.parametrize(
    ("health", "state"),
    [
        ("SUSPENDED", "FAULTED"),
        ("REMOVED", "UNAVAIL"),
        ("UNAVAIL", "UNAVAIL"),
        ("OFFLINE", "OFFLINE"),
        ("NEW", "UNSPECIFIED"),
    ],
)
def test_health_becomes_a_state(health: str, state: str) -> None:
    (pool,) = parse_zpools(f"tank\t1\t1\t1\t1\t{health}\n", "")
    assert pool.state == events_pb2.PoolState.Value(f"POOL_STATE_{state}")


@pytest.mark.parametrize("listed", ["", "no pools available\n", "a\tb\n"])
def test_text_without_pools_gives_none(listed: str) -> None:
    assert parse_zpools(listed, "no pools available\n") == []
