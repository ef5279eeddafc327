"""Blocks of the pages that things share.

A byte a block says whether it is free, so that the C code behind ``mmap.find`` looks for free runs.
All others, those of pages that are not shared included, are as if taken. Pages come to be shared
as blocks are needed, and are given back when all blocks of one are free. Everything here assumes
that the lock is held.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache.page_map import SHARED, PageMap
from proxy.cache.page_map import Run as PageRun

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 128
PAGE_BLOCKS = mmap.PAGESIZE // BLOCK

# A block takes itself and a byte of the map.
BLOCK_COST = BLOCK + 1

# Up to here a run is looked for by comparing at each block; above, by skipping from the last block
# of a window that is not free.
_SHORT_RUN = 16

# How far to look for one run before taking more pages, or several runs: blocks compared, windows
# skipped.
_MOST_COMPARED = 1 << 12
_MOST_SKIPPED = 32
_MOST_WINDOWS = 2

# Pages are taken so many at once for things that share them, while there are plenty: fewer of them
# end where the next begins.
_SHARED_AT_ONCE = 8
_PLENTY = 64
# From such a part of the blocks of shared pages on that are free, these are used before more pages
# are taken, in several runs if it has to be.
_CROWDED_PART = 4

_REMEMBERED = 64

_FREE_BLOCKS, _HINT = range(2)
WORDS = 2

_TAKEN, _FREE = b"\0", b"\1"


class Run(NamedTuple):
    """Blocks one after the other."""

    start: int
    blocks: int


class BlockMap:
    """``count`` blocks in ``pages`` and what is left behind them, their map at ``at``."""

    def __init__(
        self, memory: mmap.mmap, header: memoryview[int], at: int, count: int, pages: PageMap
    ) -> None:
        self._map = memory
        self._header = header
        self._map_at, self._map_end = at, at + count
        self._count = count
        self._pages = pages
        # What this process has freed lately: mere hints, looked at before use.
        self._freed: deque[Run] = deque(maxlen=_REMEMBERED)
        # Only whoever creates the memory comes here, and it is all zero.
        self._share_rest()

    @property
    def free(self) -> int:
        """How many are free."""
        return self._header[_FREE_BLOCKS]

    def reset(self, kept: Iterable[Run]) -> None:
        """Free all blocks of the pages that are shared now, but these."""
        self._map[self._map_at : self._map_end] = bytes(self._count)
        self._header[_FREE_BLOCKS] = self._header[_HINT] = 0
        for page in self._pages.all_shared():
            self._free(page * PAGE_BLOCKS, PAGE_BLOCKS)
        self._share_rest()
        for run in kept:
            self._take(*run)

    def take(self, count: int) -> Run | None:
        """A run of free blocks; None if there is none, or none that is worth more pages."""
        start = self._run_among_freed(count)
        if start < 0:
            start = self._run(count)
        if start < 0 and (count <= _SHORT_RUN or not self._has_many_free(count)):
            start = self._run_of_more(count)
        if start < 0:
            return None
        self._take(start, count)
        return Run(start, count)

    def take_scattered(self, size: int, link: int) -> list[Run] | None:
        """Runs with room for ``size`` bytes, and for a link in each."""
        runs: list[Run] = []
        while size > 0:
            run = self._next_free(-(-(size + link) // BLOCK))
            if run is None:
                if self._share_more(size):
                    continue
                for taken in runs:
                    self.give_back(taken)
                return None
            self._take(*run)
            runs.append(run)
            size -= run.blocks * BLOCK - link
        return runs

    def give_back(self, run: Run) -> None:
        """Let them be free."""
        self._free(*run)
        self._freed.appendleft(run)
        self._give_back_pages(*run)

    def _share_rest(self) -> None:
        """What is behind the last page is as if of a shared one, for ever."""
        self._free(self._pages.count * PAGE_BLOCKS, self._count % PAGE_BLOCKS)

    def _free(self, start: int, count: int) -> None:
        self._mark(start, count, _FREE)
        self._header[_FREE_BLOCKS] += count

    def _take(self, start: int, count: int) -> None:
        self._mark(start, count, _TAKEN)
        self._header[_FREE_BLOCKS] -= count

    def _mark(self, start: int, count: int, mark: bytes) -> None:
        at = self._map_at + start
        self._map[at : at + count] = mark * count

    def _give_back_pages(self, start: int, count: int) -> None:
        """Let pages be nobody's where all blocks that they share are free."""
        first, last = start // PAGE_BLOCKS, (start + count - 1) // PAGE_BLOCKS
        for page in range(first, min(last + 1, self._pages.count)):
            if self._is_free(page * PAGE_BLOCKS, PAGE_BLOCKS):
                self._take(page * PAGE_BLOCKS, PAGE_BLOCKS)
                self._pages.give_back(PageRun(page, 1))

    def _run_of_more(self, count: int) -> int:
        """The first block of a free run, after more pages have been made shared ones; or -1."""
        pages = -(-count // PAGE_BLOCKS)
        run = None
        if self._pages.free > _PLENTY:
            run = self._pages.take(max(pages, _SHARED_AT_ONCE), SHARED)
        run = run or self._pages.take(pages, SHARED)
        if run is None:
            return -1
        self._free(run.first * PAGE_BLOCKS, run.pages * PAGE_BLOCKS)
        self._header[_HINT] = run.first * PAGE_BLOCKS + count
        return run.first * PAGE_BLOCKS

    def _has_many_free(self, count: int) -> bool:
        free = self._header[_FREE_BLOCKS]
        return free >= 2 * count and free * _CROWDED_PART > self._pages.shared * PAGE_BLOCKS

    def _run_among_freed(self, count: int) -> int:
        freed = self._freed
        # What was freed for the sake of something of its own size is best left to that.
        best = -1
        for place, (_, length) in enumerate(freed):
            if length == count or (length > count and best < 0):
                best = place
                if length == count:
                    break
        if best < 0:
            return -1
        start, length = freed[best]
        del freed[best]
        if not self._is_free(start, count):
            return -1
        if length > count:
            freed.append(Run(start + count, length - count))
        return start

    def _is_free(self, start: int, count: int) -> bool:
        at = self._map_at + start
        return self._map.find(_TAKEN, at, at + count) < 0

    def _run(self, count: int) -> int:
        """The first block of a free run, from where the last one was looked for on; or -1."""
        if count > self._header[_FREE_BLOCKS]:
            return -1
        for _ in range(_MOST_WINDOWS):
            begin = self._map_at + self._header[_HINT]
            if count <= _SHORT_RUN:
                end = min(begin + _MOST_COMPARED, self._map_end)
                found = self._map.find(_FREE * count, begin, end)
            else:
                found, end = self._long_run(begin, count)
            if found >= 0:
                self._header[_HINT] = found + count - self._map_at
                return found - self._map_at
            self._header[_HINT] = self._shared_from(end - self._map_at)
        return -1

    def _shared_from(self, block: int) -> int:
        """The next block, from this on and then from the first, in a page that is shared."""
        page = self._pages.shared_from(min(block // PAGE_BLOCKS, self._pages.count))
        if page < 0:
            # There is only what is behind the last page.
            page = self._pages.count
        return page * PAGE_BLOCKS

    def _long_run(self, begin: int, count: int) -> tuple[int, int]:
        """Where it begins, or -1, and up to where was looked."""
        for _ in range(_MOST_SKIPPED):
            begin = self._map.find(_FREE, begin, self._map_end)
            if begin < 0 or begin + count > self._map_end:
                return -1, self._map_end
            last_taken = self._map.rfind(_TAKEN, begin, begin + count)
            if last_taken < 0:
                return begin, begin
            begin = last_taken + 1
        return -1, begin

    def _next_free(self, most: int) -> Run | None:
        """A run of at most so many blocks, of what was freed lately if there is any."""
        while self._freed:
            start, length = self._freed.popleft()
            if self._is_free(start, min(length, most)):
                if length > most:
                    self._freed.appendleft(Run(start + most, length - most))
                return Run(start, min(length, most))
        if not self._header[_FREE_BLOCKS]:
            return None
        begin = self._map.find(_FREE, self._map_at + self._header[_HINT], self._map_end)
        if begin < 0:
            begin = self._map.find(_FREE, self._map_at, self._map_end)
        end = self._map.find(_TAKEN, begin, min(begin + most, self._map_end))
        if end < 0:
            end = min(begin + most, self._map_end)
        self._header[_HINT] = end - self._map_at
        return Run(begin - self._map_at, end - begin)

    def _share_more(self, size: int) -> bool:
        """Make so many pages shared ones as take ``size`` bytes, or all there are; any at all?"""
        pages = min(-(-size // mmap.PAGESIZE), self._pages.free)
        runs = self._pages.take_scattered(pages * mmap.PAGESIZE, mmap.PAGESIZE, 0, SHARED)
        for first, count in runs or ():
            self._free(first * PAGE_BLOCKS, count * PAGE_BLOCKS)
        return bool(runs)
