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
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache import block_map, page_map
from proxy.cache.block_map import BLOCK, PAGE_BLOCKS, BlockMap, Run
from proxy.cache.page_map import SHARED, WHOLE, PageMap
from proxy.cache.page_map import Run as PageRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cache.shared_memory import SharedMemory

_LINK = struct.Struct("<II")

_BLOCK_WORDS = slice(0, block_map.WORDS)
_PAGE_WORDS = slice(block_map.WORDS, block_map.WORDS + page_map.WORDS)
WORDS = _PAGE_WORDS.stop


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
        self.count = count
        self._paged_from = paged_from
        # Links may take a page more.
        self._lent_to = blocks_for(lent_below) + PAGE_BLOCKS if lent_below else 0
        self._pages = PageMap(memory.map, header[_PAGE_WORDS], pages_at, count // PAGE_BLOCKS)
        self._shared = BlockMap(memory.map, header[_BLOCK_WORDS], map_at, count, self._pages)

    @property
    def free(self) -> int:
        """How many blocks are free, in pages of either kind."""
        return self._shared.free + self._pages.free * PAGE_BLOCKS

    def reset(self, kept: list[Extent]) -> None:
        """Free all but these, each of one run."""
        paged = [extent for extent in kept if _fills_pages(extent)]
        others = [extent for extent in kept if not _fills_pages(extent)]
        runs = [(PageRun(pages.start, len(pages)), WHOLE) for pages in map(_pages_of, paged)]
        shared = {page for extent in others for page in _pages_of(extent)}
        runs += [(PageRun(page, 1), SHARED) for page in shared if page < self._pages.count]
        self._pages.reset(runs)
        self._shared.reset([Run(extent.start, extent.blocks) for extent in others])
        begin = 0
        for (first, count), _ in sorted(runs):
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
        run = self._shared.take(count)
        if run is not None:
            return Extent(*run, 1)
        runs = self._shared.take_scattered(size, _LINK.size)
        return None if runs is None else self._linked(runs)

    def release(self, extent: Extent) -> None:
        """Give the blocks back."""
        if not extent.blocks:
            return
        runs = list(self._runs(extent))
        if not self._is_paged(extent):
            for run in runs:
                self._shared.give_back(run)
            return
        lent = self.is_lent(extent)
        for start, count in runs:
            pages = PageRun(start // PAGE_BLOCKS, count // PAGE_BLOCKS)
            if lent:
                self._renew(*pages)
            self._pages.give_back(pages)

    def is_lent(self, extent: Extent) -> bool:
        """May others refer to its pages for as long as they like?"""
        return extent.blocks <= self._lent_to and self._is_paged(extent)

    def _is_paged(self, extent: Extent) -> bool:
        return self._pages.is_whole(extent.start // PAGE_BLOCKS)

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

    def _runs(self, extent: Extent) -> Iterator[Run]:
        if extent.runs == 1:
            yield Run(extent.start, extent.blocks)
            return
        start = extent.start
        for _ in range(extent.runs):
            count, following = _LINK.unpack_from(self._map, start * BLOCK)
            yield Run(start, count)
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
        return self._linked([Run(run.first * PAGE_BLOCKS, run.pages * PAGE_BLOCKS) for run in runs])

    def _linked(self, runs: list[Run]) -> Extent:
        if len(runs) == 1:
            return Extent(*runs[0], 1)
        following = [start for start, _ in runs[1:]] + [0]
        for (start, count), successor in zip(runs, following, strict=True):
            _LINK.pack_into(self._map, start * BLOCK, count, successor)
        return Extent(runs[0][0], sum(count for _, count in runs), len(runs))


def _pages_of(extent: Extent) -> range:
    """The pages that it has a part of."""
    return range(extent.start // PAGE_BLOCKS, -(-(extent.start + extent.blocks) // PAGE_BLOCKS))


def _fills_pages(extent: Extent) -> bool:
    return extent.start % PAGE_BLOCKS == 0 and extent.blocks % PAGE_BLOCKS == 0
