"""How much memory this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from s3proxy_site.cores import CGROUPS, upwards


def usable_bytes() -> float:
    """The machine's, or less where a control group limits it; infinite where nobody knows."""
    try:
        installed: float = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        installed = math.inf
    try:
        membership = Path("/proc/self/cgroup").read_text()
    except OSError:
        return installed
    return min(installed, limit(membership, CGROUPS))


def limit(membership: str, mounted: Path) -> float:
    """Bytes that control groups allow, infinite without a limit; arguments as for `cores.quota`."""
    found = [math.inf]
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += [_number(group / "memory.max") for group in upwards(mounted, path)]
        elif "memory" in controllers.split(","):
            groups = upwards(mounted / "memory", path)
            # Without a limit it says some 2^63 bytes.
            found += [_number(group / "memory.limit_in_bytes") for group in groups]
    return min(found)


def _number(file: Path) -> float:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        # "max", or no such file.
        return math.inf
