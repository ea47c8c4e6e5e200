"""Linux software RAID, as /proc/mdstat tells it. Pure: text in, pools out."""

import re

from engine_events.v1 import events_pb2

__all__ = ["parse_mdstat"]

_ARRAY = re.compile(r"(?P<name>md\S*) : (?P<activity>\S+)(?P<rest>.*)")
_MEMBER = re.compile(r"(?P<device>\S+)\[\d+\](?P<flags>(?:\([A-Z]\))*)")
_BLOCKS = re.compile(r"\s+(?P<blocks>\d+) blocks\b")
_PRESENT = re.compile(r"\[(?P<wanted>\d+)/(?P<present>\d+)\]")
_BLOCK_BYTES = 1024


def parse_mdstat(text: str) -> list[events_pb2.StoragePool]:
    """The arrays, in the order of the text. An array that is being rebuilt is degraded until it is whole again."""
    pools: list[events_pb2.StoragePool] = []
    for line in text.splitlines():
        if array := _ARRAY.fullmatch(line):
            pools.append(_array(array["name"], array["activity"], array["rest"].split()))
        elif pools and (blocks := _BLOCKS.match(line)):
            pool = pools[-1]
            if pool.state == events_pb2.POOL_STATE_ONLINE or pool.state == events_pb2.POOL_STATE_DEGRADED:
                pool.size = int(blocks["blocks"]) * _BLOCK_BYTES
                if present := _PRESENT.search(line):
                    pool.state = _state(pool, int(present["wanted"]), int(present["present"]))
    return pools


def _array(name: str, activity: str, words: list[str]) -> events_pb2.StoragePool:
    members = [member for word in words if (member := _MEMBER.fullmatch(word))]
    level = next((word for word in words if not _MEMBER.fullmatch(word) and not word.startswith("(")), "")
    if activity == "inactive":
        state = events_pb2.POOL_STATE_UNAVAIL
    elif activity == "broken":
        state = events_pb2.POOL_STATE_FAULTED
    elif any("(F)" in member["flags"] for member in members):
        state = events_pb2.POOL_STATE_DEGRADED
    else:
        state = events_pb2.POOL_STATE_ONLINE
    devices = " ".join(sorted(member["device"] for member in members))
    return events_pb2.StoragePool(name=name, type=level or "md", state=state, device=devices)


def _state(pool: events_pb2.StoragePool, wanted: int, present: int) -> events_pb2.PoolState.ValueType:
    missing = wanted - present
    if missing <= 0:
        return pool.state
    spare_able = {"raid1": wanted - 1, "raid4": 1, "raid5": 1, "raid6": 2, "raid10": wanted // 2}.get(pool.type, 0)
    return events_pb2.POOL_STATE_DEGRADED if missing <= spare_able else events_pb2.POOL_STATE_FAULTED
