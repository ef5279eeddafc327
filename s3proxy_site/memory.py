"""How much memory this process may use."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from s3proxy_site import control_groups

if TYPE_CHECKING:
    from pathlib import Path


def usable_bytes() -> float:
    """The machine's, or less where a control group limits it; infinite where nobody knows."""
    try:
        installed: float = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        installed = math.inf
    return min(installed, limit(control_groups.membership(), control_groups.MOUNTED))


def limit(membership: str, mounted: Path) -> float:
    """Bytes that control groups allow; infinite without a limit."""
    return control_groups.lowest(
        "memory",
        membership,
        mounted,
        limit_v2=lambda group: _number(group / "memory.max"),
        # Without a limit it says some 2^63 bytes.
        limit_v1=lambda group: _number(group / "memory.limit_in_bytes"),
    )


def _number(file: Path) -> float:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        # "max", or no such file.
        return math.inf
