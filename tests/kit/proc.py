"""What Linux tells of another process and its sockets."""

from pathlib import Path

__all__ = ["children", "listening_inodes", "socket_inodes"]


def children(pid: int) -> list[int]:
    """The processes that a process started, worker processes say."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def listening_inodes(pid: int, port: int) -> set[str]:
    """The sockets that listen on a port in the network namespace of a process."""
    listening = "0A"
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        inodes |= {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == listening}
    return inodes


def socket_inodes(pid: int) -> set[str]:
    """The sockets that a process has open."""
    inodes: set[str] = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        pass  # the process, or one of its descriptors, went away meanwhile: asked again soon
    return inodes
