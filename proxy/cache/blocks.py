"""Room for bytes in pages of their own, or in blocks of pages that they share.

Small things share pages: a byte a block says whether it is free for them, so that the C code behind
``mmap.find`` looks for free runs. What is larger has pages for itself. So small things do not cut
up the room of large ones, and what lies in pages can be read without a copy: who does takes
references to the pages, not saying for how long. When such a room is given back its pages leave
the memory, to those who still refer to them, and empty ones come in their place.

What finds no run is scattered over several, each beginning with a link: how many blocks it has,
and where the next begins. So whatever is not more than the free blocks can be stored, however
they lie. Everything here assumes that the lock is held.
"""

from __future__ import annotations

import mmap
import struct
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache import page_map
from proxy.cache.page_map import SHARED, WHOLE, PageMap, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cache.shared_memory import SharedMemory

BLOCK = 128

# A block takes itself and a byte of the map.
BLOCK_COST = BLOCK + 1

PAGE_BLOCKS = mmap.PAGESIZE // BLOCK

_LINK = struct.Struct("<II")

# Up to here a run is looked for by comparing at each block; above, by skipping from the last block
# of a window that is not free.
_SHORT_RUN = 16

# How far to look for one run before taking more pages, or several runs: blocks compared, windows
# skipped.
_MOST_COMPARED = 1 << 12
_MOST_SKIPPED = 32

# Pages are taken so many at once for things that share them, while there are plenty: fewer of them
# end where the next begins.
_SHARED_AT_ONCE = 8
_PLENTY = 64
# From such a part of the blocks of shared pages on that are free, these are used before more pages
# are taken, in several runs if it has to be.
_CROWDED_PART = 4

_REMEMBERED = 64

_USABLE, _HINT = range(2)
_OWN_WORDS = 2
WORDS = _OWN_WORDS + page_map.WORDS

_TAKEN, _FREE = b"\0", b"\1"


class Extent(NamedTuple):
    """Blocks that hold one piece of data: the first one, their number and that of their runs."""

    start: int
    blocks: int
    runs: int


class Care(Enum):
    """What matters of the room for something large: nothing, that it is in pages, in one run."""

    NONE = auto()
    PAGES = auto()
    ONE_RUN = auto()


class Piece(NamedTuple):
    """Consecutive bytes of the memory."""

    at: int
    size: int


def blocks_for(size: int) -> int:
    """How many blocks take ``size`` bytes, in one run."""
    return -(-size // BLOCK)


class Blocks:
    """The first ``count`` blocks of a memory, their map at ``map_at``, the pages' at ``pages_at``.

    Data of at least ``paged_from`` bytes is given pages of its own while there are enough;
    what of it is of fewer than ``lent_below`` bytes may be read without a copy.
    """

    def __init__(
        self,
        memory: SharedMemory,
        header: memoryview[int],
        map_at: int,
        pages_at: int,
        count: int,
        paged_from: int,
        lent_below: int,
    ) -> None:
        self._memory = memory
        self._map = memory.map
        self._view = memory.view
        self._header = header
        self._map_at = map_at
        self._map_end = map_at + count
        self.count = count
        self._paged_from = paged_from
        # Links may take a page more.
        self._lent_to = blocks_for(lent_below) + PAGE_BLOCKS if lent_below else 0
        self._pages = PageMap(memory.map, header[_OWN_WORDS:], pages_at, count // PAGE_BLOCKS)
        self._share_rest()
        # Where this process has freed something lately: mere hints, looked at before use.
        self._freed: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    @property
    def free(self) -> int:
        """How many blocks are free, in pages of either kind."""
        return self._header[_USABLE] + self._pages.free * PAGE_BLOCKS

    def reset(self, kept: list[Extent]) -> None:
        """Free all but these, each of one run."""
        self._map[self._map_at : self._map_end] = bytes(self.count)
        self._header[_USABLE], self._header[_HINT] = 0, 0
        sharing = [extent for extent in kept if not _fills_pages(extent)]
        shared = sorted({page for extent in sharing for page in _pages_of(extent)})
        kept_pages = [(Run(page, 1), SHARED) for page in shared if page < self._pages.count]
        for extent in kept:
            if _fills_pages(extent):
                pages = _pages_of(extent)
                kept_pages.append((Run(pages.start, len(pages)), WHOLE))
        self._pages.reset(kept_pages)
        for (page, _), kind in kept_pages:
            if kind == SHARED:
                self._share(page * PAGE_BLOCKS, PAGE_BLOCKS)
        self._share_rest()
        for extent in sharing:
            self._take(extent.start, extent.blocks)
        begin = 0
        for (first, count), _ in sorted(kept_pages):
            self._renew(begin, first - begin)
            begin = first + count
        self._renew(begin, self._pages.count - begin)

    def allocate(self, size: int, care: Care = Care.NONE) -> Extent | None:
        """Room for ``size`` bytes; None when there is too little, or none that is as asked for."""
        if size == 0:
            return Extent(0, 0, 1)
        if size >= self._paged_from:
            room = self._in_pages(size, in_one_run=care is Care.ONE_RUN)
            if room is not None or care is not Care.NONE:
                return room
        count = blocks_for(size)
        if count > self.free:
            return None
        start = self._run_among_freed(count)
        if start < 0:
            start = self._run(count)
        if start < 0 and not self._has_many_usable(count):
            start = self._run_of_more(count)
        if start < 0:
            return self._scattered(size)
        self._take(start, count)
        return Extent(start, count, 1)

    def release(self, extent: Extent) -> None:
        """Give the blocks back."""
        if not extent.blocks:
            return
        runs = list(self._runs(extent))
        if self._pages.is_whole(extent.start // PAGE_BLOCKS):
            lent = self.is_lent(extent)
            for start, count in runs:
                run = Run(start // PAGE_BLOCKS, count // PAGE_BLOCKS)
                if lent:
                    self._renew(*run)
                self._pages.give_back(run)
            return
        for start, count in runs:
            self._share(start, count)
            self._freed.appendleft((start, count))
            self._give_back_pages(start, count)

    def is_lent(self, extent: Extent) -> bool:
        """May others refer to its pages for as long as they like?"""
        return extent.blocks <= self._lent_to and self._pages.is_whole(extent.start // PAGE_BLOCKS)

    def offset(self, extent: Extent) -> int:
        """Where the data of an extent of one run begins in the memory."""
        return extent.start * BLOCK

    def pieces(self, extent: Extent, size: int) -> list[Piece]:
        """Where the first ``size`` bytes of its data are in the memory."""
        if extent.runs == 1:
            return [Piece(extent.start * BLOCK, size)]
        pieces = []
        for start, count in self._runs(extent):
            piece = min(size, count * BLOCK - _LINK.size)
            pieces.append(Piece(start * BLOCK + _LINK.size, piece))
            size -= piece
        return pieces

    def write(self, extent: Extent, data: bytes | memoryview) -> None:
        """Store data that the extent was allocated for."""
        if extent.runs == 1:
            at = extent.start * BLOCK
            self._view[at : at + len(data)] = data
            return
        rest = memoryview(data)
        for at, size in self.pieces(extent, len(data)):
            self._view[at : at + size] = rest[:size]
            rest = rest[size:]

    def read(self, extent: Extent, size: int) -> bytes:
        """A copy of the first ``size`` bytes."""
        if extent.runs == 1:
            at = extent.start * BLOCK
            return self._map[at : at + size]
        return b"".join([self._map[at : at + part] for at, part in self.pieces(extent, size)])

    def _renew(self, first: int, count: int) -> None:
        if count and self._lent_to:
            self._memory.renew(first * mmap.PAGESIZE, count * mmap.PAGESIZE)

    def _runs(self, extent: Extent) -> Iterator[tuple[int, int]]:
        if extent.runs == 1:
            yield extent.start, extent.blocks
            return
        start = extent.start
        for _ in range(extent.runs):
            count, following = _LINK.unpack_from(self._map, start * BLOCK)
            yield start, count
            start = following

    def _in_pages(self, size: int, *, in_one_run: bool) -> Extent | None:
        run = self._pages.take(-(-size // mmap.PAGESIZE), WHOLE)
        if run is not None:
            return Extent(run.first * PAGE_BLOCKS, run.pages * PAGE_BLOCKS, 1)
        if in_one_run:
            return None
        runs = self._pages.take_scattered(size, mmap.PAGESIZE, _LINK.size, WHOLE)
        if runs is None:
            return None
        return self._linked([(run.first * PAGE_BLOCKS, run.pages * PAGE_BLOCKS) for run in runs])

    def _linked(self, runs: list[tuple[int, int]]) -> Extent:
        if len(runs) == 1:
            return Extent(*runs[0], 1)
        following = [start for start, _ in runs[1:]] + [0]
        for (start, count), successor in zip(runs, following, strict=True):
            _LINK.pack_into(self._map, start * BLOCK, count, successor)
        return Extent(runs[0][0], sum(count for _, count in runs), len(runs))

    # Blocks of shared pages.

    def _share_rest(self) -> None:
        """What is behind the last page is as if of a shared one, for ever."""
        self._share(self._pages.count * PAGE_BLOCKS, self.count % PAGE_BLOCKS)

    def _share(self, start: int, count: int) -> None:
        self._mark(start, count, _FREE)
        self._header[_USABLE] += count

    def _take(self, start: int, count: int) -> None:
        self._mark(start, count, _TAKEN)
        self._header[_USABLE] -= count

    def _mark(self, start: int, count: int, mark: bytes) -> None:
        at = self._map_at + start
        self._map[at : at + count] = mark * count

    def _give_back_pages(self, start: int, count: int) -> None:
        """Let pages be nobody's where all blocks that they share are free."""
        first, last = start // PAGE_BLOCKS, (start + count - 1) // PAGE_BLOCKS
        for page in range(first, min(last + 1, self._pages.count)):
            if self._is_free(page * PAGE_BLOCKS, PAGE_BLOCKS):
                self._take(page * PAGE_BLOCKS, PAGE_BLOCKS)
                self._pages.give_back(Run(page, 1))

    def _run_of_more(self, count: int) -> int:
        """The first block of a free run, after more pages have been made shared ones; or -1."""
        pages = -(-count // PAGE_BLOCKS)
        run = None
        if self._pages.free > _PLENTY:
            run = self._pages.take(max(pages, _SHARED_AT_ONCE), SHARED)
        run = run or self._pages.take(pages, SHARED)
        if run is None:
            return -1
        self._share(run.first * PAGE_BLOCKS, run.pages * PAGE_BLOCKS)
        return run.first * PAGE_BLOCKS

    def _has_many_usable(self, count: int) -> bool:
        usable = self._header[_USABLE]
        return usable >= 2 * count and usable * _CROWDED_PART > self._pages.shared * PAGE_BLOCKS

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
            freed.append((start + count, length - count))
        return start

    def _is_free(self, start: int, count: int) -> bool:
        at = self._map_at + start
        return self._map.find(_TAKEN, at, at + count) < 0

    def _run(self, count: int) -> int:
        """The first block of a free run, from where the last one was looked for on; or -1."""
        if count > self._header[_USABLE]:
            return -1
        begin = self._map_at + self._header[_HINT]
        if begin + count > self._map_end:
            begin = self._map_at
        if count <= _SHORT_RUN:
            end = min(begin + _MOST_COMPARED, self._map_end)
            found = self._map.find(_FREE * count, begin, end)
        else:
            found, end = self._long_run(begin, count)
        # The next one goes on from there.
        self._header[_HINT] = (end if found < 0 else found + count) - self._map_at
        return found - self._map_at if found >= 0 else -1

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

    def _scattered(self, size: int) -> Extent | None:
        """Room in as many runs as it takes; None when their links leave too little."""
        runs: list[tuple[int, int]] = []
        while size > 0:
            run = self._next_free(blocks_for(size + _LINK.size))
            if run is None:
                if self._share_more(size):
                    continue
                for taken in runs:
                    self._share(*taken)
                return None
            self._take(*run)
            runs.append(run)
            size -= run[1] * BLOCK - _LINK.size
        return self._linked(runs)

    def _next_free(self, most: int) -> tuple[int, int] | None:
        """A run of at most so many blocks, of what was freed lately if there is any."""
        while self._freed:
            start, length = self._freed.popleft()
            if self._is_free(start, min(length, most)):
                if length > most:
                    self._freed.appendleft((start + most, length - most))
                return start, min(length, most)
        if not self._header[_USABLE]:
            return None
        begin = self._map.find(_FREE, self._map_at + self._header[_HINT], self._map_end)
        if begin < 0:
            begin = self._map.find(_FREE, self._map_at, self._map_end)
        end = self._map.find(_TAKEN, begin, min(begin + most, self._map_end))
        if end < 0:
            end = min(begin + most, self._map_end)
        self._header[_HINT] = end - self._map_at
        return begin - self._map_at, end - begin

    def _share_more(self, size: int) -> bool:
        """Make so many pages shared ones as take ``size`` bytes, or all there are; any at all?"""
        pages = min(-(-size // mmap.PAGESIZE), self._pages.free)
        runs = self._pages.take_scattered(pages * mmap.PAGESIZE, mmap.PAGESIZE, 0, SHARED)
        for first, count in runs or ():
            self._share(first * PAGE_BLOCKS, count * PAGE_BLOCKS)
        return bool(runs)


def _pages_of(extent: Extent) -> range:
    """The pages that it has a part of."""
    return range(extent.start // PAGE_BLOCKS, -(-(extent.start + extent.blocks) // PAGE_BLOCKS))


def _fills_pages(extent: Extent) -> bool:
    return extent.start % PAGE_BLOCKS == 0 and extent.blocks % PAGE_BLOCKS == 0
