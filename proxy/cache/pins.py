"""Views into shared memory that keep what they show from being overwritten.

Each is listed in a row of the process that holds it, with the room it shows, so that what a
killed process held can be given back, and what others hold survives when all else is forgotten.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from proxy import processes
from proxy.cache.blocks import Extent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cache.shared_memory import SharedMemory

ROW_BYTES = 16


class Pins:
    """``rows`` rows for each of ``count`` processes; what is not said otherwise needs the lock."""

    def __init__(self, memory: SharedMemory, at: int, count: int, rows: int) -> None:
        self._memory = memory
        self._count, self._rows = count, rows
        # Two words a row: the room's start and blocks, the slot's number plus one.
        self._table = memory.words(at, 2 * count * rows)
        self._process = -1
        self._free: list[int] = []
        # Processes and rows of views that are no more. Finalisers may only add to it.
        self._dropped: deque[tuple[int, int]] = deque()
        self._view = _view_class(memory, self._dropped)

    def add(self, slot: int, extent: Extent) -> int | None:
        """List the room as held by this process; the row's number, None if there is none left."""
        if self._process != processes.index():
            self._begin_process()
        if not self._free:
            return None
        row = self._free.pop()
        self._table[2 * row] = extent.start << 32 | extent.blocks
        # Last, since this makes the row count if the process is killed here.
        self._table[2 * row + 1] = slot + 1
        return row

    def remove(self, row: int) -> int:
        """Strike a row of this process; the slot that it was about."""
        slot = self._table[2 * row + 1] - 1
        self._table[2 * row + 1] = 0
        if row // self._rows == self._process:
            self._free.append(row)
        return slot

    def view(self, row: int, first: int, size: int) -> memoryview[int]:
        """A read-only view that drops the row when nothing uses it any more."""
        owner = self._view.from_buffer(self._memory.map)
        owner.row, owner.process = row, os.getpid()
        return memoryview(owner).cast("B")[first : first + size].toreadonly()

    def dropped(self) -> Iterator[int]:
        """The rows of this process whose views have gone, once each."""
        while self._dropped:
            process, row = self._dropped.popleft()
            # A forked process begins with what its parent had not come to yet.
            if process == os.getpid():
                yield row

    def forget(self, process: int) -> Iterator[int]:
        """Strike the rows of another process; the slot of each."""
        for row in range(process * self._rows, (process + 1) * self._rows):
            slot = self._table[2 * row + 1] - 1
            if slot >= 0:
                self._table[2 * row + 1] = 0
                yield slot

    def held(self) -> Iterator[tuple[int, Extent]]:
        """Slot and room of every row in use."""
        for row in range(self._count * self._rows):
            if self._table[2 * row + 1]:
                room = self._table[2 * row]
                yield self._table[2 * row + 1] - 1, Extent(room >> 32, room & 0xFFFFFFFF, 1)

    def _begin_process(self) -> None:
        # Forked, or another process by name: the rows of the one before are not ours.
        self._process = processes.index()
        mine = range(self._process * self._rows, (self._process + 1) * self._rows)
        self._free = [
            row for row in mine if self._process < self._count and not self._table[2 * row + 1]
        ]


def _view_class(memory: SharedMemory, dropped: deque[tuple[int, int]]) -> Any:
    """The type of a buffer over the whole memory that says when its last view has gone.

    One type for all: each would otherwise be a type of its own size, for the garbage collector.
    """
    enter: Callable[[], bool] = memory.try_enter
    leave: Callable[..., None] = memory.__exit__
    process = os.getpid

    class View(ctypes.c_char * len(memory.map)):  # type: ignore[misc]
        row: int
        process: int

        def __del__(self) -> None:
            # A forked process has copies of its parent's views, which are the parent's to drop.
            if self.process == process():
                dropped.append((self.process, self.row))
                if enter():
                    leave(None, None, None)

    return View
