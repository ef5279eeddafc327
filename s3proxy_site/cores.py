"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Those it may be scheduled on, or fewer where a control group limits its CPU time."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        # Linux alone has it.
        cores = os.cpu_count() or 1
    try:
        membership = Path("/proc/self/cgroup").read_text()
    except OSError:
        return cores
    return max(1, math.ceil(min(cores, quota(membership, CGROUPS))))


def quota(membership: str, mounted: Path) -> float:
    """Cores' worth of CPU time that control groups allow; infinite without a limit.

    ``membership`` is the text of /proc/self/cgroup, a line like ``0::/a/b`` for version 2 or
    ``4:cpu,cpuacct:/a/b`` for version 1. A container often sees its own group as the root.
    """
    found = [math.inf]
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += [_limit_v2(group) for group in upwards(mounted, path)]
        elif "cpu" in controllers.split(","):
            for root in (mounted / "cpu", mounted / controllers):
                found += [_limit_v1(group) for group in upwards(root, path)]
    return min(found)


def upwards(root: Path, path: str) -> list[Path]:
    """A group's directory, with those of the groups that it is in; limits of all apply."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    return [root.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def _limit_v2(group: Path) -> float:
    try:
        allowed, period = (group / "cpu.max").read_text().split()
        return math.inf if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _limit_v1(group: Path) -> float:
    try:
        allowed = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return allowed / period if allowed > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
