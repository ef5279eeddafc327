"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from s3proxy_site import control_groups

if TYPE_CHECKING:
    from pathlib import Path


def usable_cores() -> int:
    """Those it may be scheduled on, or fewer where a control group limits its CPU time."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        # Linux alone has it.
        cores = os.cpu_count() or 1
    allowed = quota(control_groups.membership(), control_groups.MOUNTED)
    return max(1, math.ceil(min(cores, allowed)))


def quota(membership: str, mounted: Path) -> float:
    """Cores' worth of CPU time that control groups allow; infinite without a limit."""
    return control_groups.lowest("cpu", membership, mounted, limit_v2=_limit_v2, limit_v1=_limit_v1)


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
