"""What a server's worker holds, as Linux tells it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.raw_http import RawConnection
    from tests.served.process import Served

_LISTEN = "0A"


def open_sockets(served: Served) -> int:
    """Sockets that the worker has open."""
    (worker,) = served.worker_pids()
    found = 0
    for descriptor in Path(f"/proc/{worker}/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def resident_bytes(served: Served) -> int:
    """Memory of the worker that is in RAM."""
    (worker,) = served.worker_pids()
    status = Path(f"/proc/{worker}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def holds(served: Served, client: RawConnection) -> bool:
    """Has the process the other end of a connection over IPv4 still open?"""
    return client.sock.getsockname()[1] in _peer_ports(served)


def clients_of(served: Served) -> int:
    """Connections over IPv4 from clients that the process has open."""
    return len(_peer_ports(served))


def _peer_ports(served: Served) -> list[int]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(remote.rpartition(":")[2], 16)
        for _, local, remote, state, _, _, _, _, _, inode, *_ in rows
        # What no process has any more belongs to inode 0.
        if local.endswith(f":{served.port:04X}") and state != _LISTEN and inode != "0"
    ]
