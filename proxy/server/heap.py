"""How glibc gives freed memory back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# malloc.h of glibc, mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# More than the 256,000 bytes that uvloop reads at once: what streams is then taken from the heap
# again and again. Mapped anew, each page of it would cost a fault: half the time of a stream.
_LARGE_BLOCK_BYTES = 512 * 1024
_FREE_TOP_BYTES = 8 * 1024 * 1024

# What may stay in the process after it was freed, and how long (seconds) nobody looks.
_WORTH_BYTES = 16 * 1024 * 1024
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 64.0

_STATM = Path("/proc/self/statm")


def map_large_blocks() -> None:
    """Let glibc map large blocks by themselves, so that a freed body leaves the process.

    By default it learns from the first large block freed to keep later ones in its heap, where one
    small survivor holds on to all below it: after a burst of misses the process would stay large.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _FREE_TOP_BYTES)


def resident_bytes() -> int:
    """The memory of this process that no file or other process has; 0 where nobody tells."""
    try:
        _, resident, shared = map(int, _STATM.read_bytes().split()[:3])
    except OSError:
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _trimmer() -> Callable[[int], int]:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _: 0
    return trim


class Heap:
    """Gives back what was freed below a survivor, which glibc does only when asked.

    It takes milliseconds where there is much to look through: rarely where little came of it.
    """

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        trim: Callable[[int], int] | None = None,
    ) -> None:
        self._resident = resident
        self._trim = trim or _trimmer()
        self._at_first = self._at_last = resident()
        self._pause = _SHORTEST_PAUSE
        self._trimmed_at = float("-inf")

    def look(self, now: float) -> None:
        """Trim if the process has grown; to be called each second or so. ``now`` in seconds."""
        before = self._resident()
        if before - self._at_last >= _WORTH_BYTES:
            self._pause = _SHORTEST_PAUSE
        if before - self._at_first < _WORTH_BYTES or now - self._trimmed_at < self._pause:
            return
        self._trim(0)
        self._trimmed_at = now
        self._at_last = self._resident()
        if before - self._at_last >= _WORTH_BYTES:
            self._pause = _SHORTEST_PAUSE
        else:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
