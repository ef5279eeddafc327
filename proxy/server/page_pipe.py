"""Sends parts of the store's memory to sockets without copying them.

As sendfile does for a file, the kernel is given references to the pages, by way of a pipe: the
store is asked whether they are still the body's once the pipe has them, and not before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.cache.blocks import Piece

# Enough for the largest body that is in pages, where the kernel allows it.
_CAPACITY = 512 * 1024
# The head takes a page or two, and each piece may use one at each end in part.
_SPARE = 34 * 4096


@dataclass(frozen=True, slots=True)
class Pages:
    """``size`` bytes in ``pieces`` of the store's memory, if the slot still has this version."""

    slot: int
    version: int
    pieces: tuple[Piece, ...]
    size: int

    def __len__(self) -> int:
        return self.size


class PagePipe:
    """A pipe for one answer at a time; ``splice`` is the store's."""

    def __init__(self, splice: Callable[[int, int, tuple[Piece, ...], int], bool]) -> None:
        self._splice = splice
        self._end, self._beginning = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._end, self._beginning)
        # Refused to who has too many pipes.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._beginning, fcntl.F_SETPIPE_SZ, _CAPACITY)
        self._most = fcntl.fcntl(self._beginning, fcntl.F_GETPIPE_SZ) - _SPARE
        self._held = 0

    def takes(self, size: int) -> bool:
        """Is there room for an answer with a body of so many bytes?"""
        return size <= self._most

    def fill(self, head: bytes, pages: Pages) -> bool:
        """Take an answer; false where the pages are another's now, or cannot be taken."""
        try:
            self._held = os.write(self._beginning, head)
            if self._splice(pages.slot, pages.version, pages.pieces, self._beginning):
                self._held += pages.size
                return True
        except OSError:
            # Not a system where the memory's pages can be had in this way.
            self._most = 0
        self._drain()
        return False

    def send(self, descriptor: int) -> bytes:
        """Send the answer to a socket that does not wait; what it did not take is returned."""
        with contextlib.suppress(OSError):
            self._held -= os.splice(self._end, descriptor, self._held)
        return self._drain() if self._held else b""

    def _drain(self) -> bytes:
        pieces = []
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._end, _CAPACITY):
                pieces.append(piece)
        self._held = 0
        return b"".join(pieces)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
