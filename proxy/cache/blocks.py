"""Room for bytes in blocks of one size.

A byte a block says whether it is taken, so that the C code behind ``mmap.find`` looks for free
runs. What finds no run is scattered over several, each beginning with a link: how many blocks it
has, and where the next begins. So whatever is not more than the free blocks can be stored, however
they lie. Everything here assumes that the lock is held.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cache.shared_memory import SharedMemory

BLOCK = 128

# A block takes itself and a byte of the map.
BLOCK_COST = BLOCK + 1

_LINK = struct.Struct("<II")

# Up to here a run is looked for by comparing at each block; above, by skipping from the last taken
# block of a window.
_SHORT_RUN = 16

# How far to look for one run before taking several: blocks compared, windows skipped.
_MOST_COMPARED = 1 << 18
_MOST_SKIPPED = 1000

_REMEMBERED = 8

_FREE, _HINT = range(2)
WORDS = 2


class Extent(NamedTuple):
    """Blocks that hold one piece of data: the first one, their number and that of their runs."""

    start: int
    blocks: int
    runs: int


def blocks_for(size: int) -> int:
    """How many blocks take ``size`` bytes, in one run."""
    return -(-size // BLOCK)


class Blocks:
    """``count`` blocks at ``data_at``, their map at ``map_at``."""

    def __init__(
        self, memory: SharedMemory, header: memoryview[int], map_at: int, data_at: int, count: int
    ) -> None:
        self._map = memory.map
        self._view = memory.view
        self._header = header
        self._map_at = map_at
        self._map_end = map_at + count
        self._data_at = data_at
        self.count = count
        # Only whoever creates the memory comes here, and it is all zero.
        header[_FREE] = count
        # Where this process has freed something lately: mere hints, looked at before use.
        self._freed: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    @property
    def free(self) -> int:
        """How many blocks are free."""
        return self._header[_FREE]

    def reset(self, kept: list[Extent]) -> None:
        """Free all but these, each of one run."""
        self._map[self._map_at : self._map_end] = bytes(self.count)
        taken = 0
        for extent in kept:
            self._mark(extent.start, extent.blocks, b"\1")
            taken += extent.blocks
        self._header[_FREE], self._header[_HINT] = self.count - taken, 0

    def allocate(self, size: int) -> Extent | None:
        """Room for ``size`` bytes; None when there is too little."""
        count = blocks_for(size)
        if count > self._header[_FREE]:
            return None
        if count == 0:
            return Extent(0, 0, 1)
        start = self._run_among_freed(count)
        if start < 0:
            start = self._run(count)
            if start < 0:
                return self._scattered(size)
            self._header[_HINT] = start + count
        self._take(start, count)
        return Extent(start, count, 1)

    def release(self, extent: Extent) -> None:
        """Give the blocks back."""
        if not extent.blocks:
            return
        for start, count in list(self._runs(extent)):
            self._mark(start, count, b"\0")
            self._freed.appendleft((start, count))
        self._header[_FREE] += extent.blocks

    def offset(self, extent: Extent) -> int:
        """Where the data of an extent of one run begins in the memory."""
        return self._data_at + extent.start * BLOCK

    def write(self, extent: Extent, data: bytes | memoryview) -> None:
        """Store data that the extent was allocated for."""
        if extent.runs == 1:
            at = self._data_at + extent.start * BLOCK
            self._view[at : at + len(data)] = data
            return
        rest = memoryview(data)
        for start, count in self._runs(extent):
            piece = rest[: count * BLOCK - _LINK.size]
            at = self._data_at + start * BLOCK + _LINK.size
            self._view[at : at + len(piece)] = piece
            rest = rest[len(piece) :]

    def read(self, extent: Extent, size: int) -> bytes:
        """A copy of the first ``size`` bytes."""
        if extent.runs == 1:
            at = self._data_at + extent.start * BLOCK
            return self._map[at : at + size]
        pieces = []
        for start, count in self._runs(extent):
            at = self._data_at + start * BLOCK + _LINK.size
            pieces.append(self._map[at : at + min(size, count * BLOCK - _LINK.size)])
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _runs(self, extent: Extent) -> Iterator[tuple[int, int]]:
        if extent.runs == 1:
            yield extent.start, extent.blocks
            return
        start = extent.start
        for _ in range(extent.runs):
            count, following = _LINK.unpack_from(self._map, self._data_at + start * BLOCK)
            yield start, count
            start = following

    def _mark(self, start: int, count: int, mark: bytes) -> None:
        at = self._map_at + start
        self._map[at : at + count] = mark * count

    def _take(self, start: int, count: int) -> None:
        self._mark(start, count, b"\1")
        self._header[_FREE] -= count

    def _run_among_freed(self, count: int) -> int:
        freed = self._freed
        # What was freed for the sake of something of its own size is best left to that.
        for _ in range(len(freed)):
            start, length = freed[0]
            if length == count:
                freed.popleft()
                if self._is_free(start, count):
                    return start
            else:
                freed.rotate(-1)
        for _ in range(len(freed)):
            start, length = freed[0]
            if length < count:
                freed.rotate(-1)
                continue
            freed.popleft()
            if self._is_free(start, count):
                freed.append((start + count, length - count))
                return start
        return -1

    def _is_free(self, start: int, count: int) -> bool:
        at = self._map_at + start
        return self._map.find(b"\1", at, at + count) < 0

    def _run(self, count: int) -> int:
        """The first block of a free run, from where the last one was taken on; or -1."""
        look = self._short_run if count <= _SHORT_RUN else self._long_run
        hint = self._map_at + self._header[_HINT]
        found = look(hint, self._map_end, count)
        if found < 0:
            found = look(self._map_at, min(hint + count, self._map_end), count)
        return found - self._map_at if found >= 0 else -1

    def _short_run(self, begin: int, end: int, count: int) -> int:
        return self._map.find(bytes(count), begin, min(end, begin + _MOST_COMPARED))

    def _long_run(self, begin: int, end: int, count: int) -> int:
        for _ in range(_MOST_SKIPPED):
            if begin + count > end:
                return -1
            last_taken = self._map.rfind(b"\1", begin, begin + count)
            if last_taken < 0:
                return begin
            begin = last_taken + 1
        return -1

    def _scattered(self, size: int) -> Extent | None:
        """Room in as many runs as it takes; None when their links leave too little."""
        runs: list[tuple[int, int]] = []
        rest, begin = size, self._map_at
        while rest > 0:
            begin = self._map.find(b"\0", begin, self._map_end)
            if begin < 0:
                return None
            most = begin + blocks_for(rest + _LINK.size)
            end = self._map.find(b"\1", begin, min(most, self._map_end))
            end = min(most, self._map_end) if end < 0 else end
            runs.append((begin - self._map_at, end - begin))
            rest -= (end - begin) * BLOCK - _LINK.size
            begin = end
        if len(runs) == 1:
            self._take(*runs[0])
            return Extent(*runs[0], 1)
        following = [start for start, _ in runs[1:]] + [0]
        for (start, count), successor in zip(runs, following, strict=True):
            self._take(start, count)
            _LINK.pack_into(self._map, self._data_at + start * BLOCK, count, successor)
        return Extent(runs[0][0], sum(count for _, count in runs), len(runs))
