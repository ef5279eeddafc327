"""What Linux says of the server's processes: what they use, whose a connection is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of a server together; `memory` in bytes, shared pages counted once."""

    at: float
    processes: int
    memory: int
    descriptors: int
    threads: int


def tree(parent: int) -> list[int]:
    """A process and all its descendants."""
    found = [parent]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in (_PROC / str(pid) / "task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def usage(parent: int, now: float) -> Usage:
    pids = tree(parent)
    memory = descriptors = threads = 0
    for pid in pids:
        # One that ends meanwhile uses nothing.
        with contextlib.suppress(OSError):
            memory += _memory(pid)
            descriptors += _count(pid, "fd")
            threads += _count(pid, "task")
    return Usage(now, len(pids), memory, descriptors, threads)


def _count(pid: int, kind: str) -> int:
    return sum(1 for _ in (_PROC / str(pid) / kind).iterdir())


def _memory(pid: int) -> int:
    """The process's proportional share (Pss); where the kernel does not tell, its Rss."""
    for file, name in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            for line in (_PROC / str(pid) / file).read_text().splitlines():
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    return 0


def client_ports(pid: int, server_port: int, others: list[int]) -> frozenset[int]:
    """The clients whose connections to `server_port` are held by `pid`, or by no process.

    The latter wait to be accepted, by whoever has the socket they wait at.
    """
    held_by_others = {inode for other in others for inode in _sockets(other)} - _sockets(pid)
    ports = set()
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        columns = line.split()
        local, remote, state, inode = columns[1], columns[2], columns[3], columns[9]
        listening = state == "0A"
        if int(local.rpartition(":")[2], 16) != server_port or listening:
            continue
        if inode not in held_by_others:
            ports.add(int(remote.rpartition(":")[2], 16))
    return frozenset(ports)


def _sockets(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes
