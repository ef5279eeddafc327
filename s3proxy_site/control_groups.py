"""What the control groups that this process is in allow it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOUNTED = Path("/sys/fs/cgroup")


def membership() -> str:
    """The text of /proc/self/cgroup, empty where there is none.

    A line is like ``0::/a/b`` for version 2, ``4:cpu,cpuacct:/a/b`` for version 1. A container
    often sees its own group as the root.
    """
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def lowest(
    controller: str,
    membership: str,
    mounted: Path,
    *,
    limit_v2: Callable[[Path], float],
    limit_v1: Callable[[Path], float],
) -> float:
    """The lowest limit that a controller sets; infinite without one.

    ``limit_v2`` and ``limit_v1`` read that of a group from its directory, in that version's files.
    """
    found = [math.inf]
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += map(limit_v2, _upwards(mounted, path))
        elif controller in controllers.split(","):
            for root in (mounted / controller, mounted / controllers):
                found += map(limit_v1, _upwards(root, path))
    return min(found)


def _upwards(root: Path, path: str) -> list[Path]:
    """A group's directory, with those of the groups that it is in; limits of all apply."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    return [root.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]
