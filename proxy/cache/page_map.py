"""Which pages of a store are whose.

A byte a page, so that the C code behind ``mmap.find`` looks for runs of free ones. Everything here
assumes that the lock is held.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

# A page is nobody's, has a part of one body alone, or blocks of many things.
FREE, WHOLE, SHARED = b"\0", b"\1", b"\2"

_FREE_PAGES, _SHARED_PAGES, _HINT = range(3)
WORDS = 3

# Up to here a run is looked for by comparing at each page; above, by skipping from the last taken
# page of a window.
_SHORT_RUN = 16
# How far to look for one run before taking several: pages compared; windows skipped, more of them
# where several runs would be a loss.
_MOST_COMPARED = 1 << 12
_MOST_SKIPPED, _MOST_SKIPPED_FOR_LONG = 32, 1000
_LONG_RUN = 64
_REMEMBERED = 64
# How far to look for free pages beside those that are freed.
_AROUND = 64


class Run(NamedTuple):
    """So many ``pages`` one after the other."""

    first: int
    pages: int


_pages = itemgetter(1)


class PageMap:
    """``count`` pages, their map at ``at``."""

    def __init__(self, memory: mmap, header: memoryview[int], at: int, count: int) -> None:
        self._map = memory
        self._header = header
        self._at, self._end = at, at + count
        self.count = count
        # Only whoever creates the memory comes here, and it is all zero.
        header[_FREE_PAGES] = count
        # What this process has freed lately: mere hints, looked at before use.
        self._freed: deque[Run] = deque(maxlen=_REMEMBERED)

    @property
    def free(self) -> int:
        """How many are free."""
        return self._header[_FREE_PAGES]

    @property
    def shared(self) -> int:
        """How many have blocks of many things."""
        return self._header[_SHARED_PAGES]

    def shared_from(self, page: int) -> int:
        """The next one, from this on and then from the first, that is shared; -1 if none is."""
        found = self._map.find(SHARED, self._at + page, self._end)
        if found < 0:
            found = self._map.find(SHARED, self._at, self._end)
        return found - self._at if found >= 0 else -1

    def all_shared(self) -> Iterator[int]:
        """Those that have blocks of many things."""
        at = self._map.find(SHARED, self._at, self._end)
        while at >= 0:
            yield at - self._at
            at = self._map.find(SHARED, at + 1, self._end)

    def is_whole(self, page: int) -> bool:
        """Has it a part of one body alone?"""
        return self._map[self._at + page] == WHOLE[0]

    def reset(self, kept: list[tuple[Run, bytes]]) -> None:
        """Free all but these, which are as is said."""
        self._map[self._at : self._end] = bytes(self.count)
        self._header[_FREE_PAGES] = self.count
        self._header[_SHARED_PAGES] = self._header[_HINT] = 0
        for run, kind in kept:
            self._take(run, kind)

    def take(self, count: int, kind: bytes) -> Run | None:
        """A run of free pages, of this kind from now on; None if there is none."""
        if count > self.free:
            return None
        run = self._among_freed(count)
        if run is None:
            first = self._find(count)
            if first < 0:
                return None
            run = Run(first, count)
            self._header[_HINT] = first + count
        self._take(run, kind)
        return run

    def take_scattered(self, size: int, page: int, link: int, kind: bytes) -> list[Run] | None:
        """Runs with room for ``size`` bytes, in pages of ``page``, and for a link in each."""
        runs: list[Run] = []
        while size > 0:
            run = self._next_free(-(-(size + link) // page))
            if run is None:
                for taken in runs:
                    self.give_back(taken)
                return None
            self._take(run, kind)
            runs.append(run)
            size -= run.pages * page - link
        return runs

    def _next_free(self, most: int) -> Run | None:
        """A run of at most so many pages, of what was freed lately if there is any."""
        while self._freed:
            # The longest first, so that there are few of them.
            longest = max(self._freed, key=_pages)
            self._freed.remove(longest)
            run = Run(longest.first, min(longest.pages, most))
            if self._is_free(run):
                self._put_off(longest, run.pages)
                return run
        begin = self._map.find(FREE, self._at + self._header[_HINT], self._end)
        if begin < 0:
            begin = self._map.find(FREE, self._at, self._end)
            if begin < 0:
                return None
        end = self._end_of_free(begin, min(begin + most, self._end))
        self._header[_HINT] = end - self._at
        return Run(begin - self._at, end - begin)

    def give_back(self, run: Run) -> None:
        """Let them be free."""
        if not self.is_whole(run.first):
            self._header[_SHARED_PAGES] -= run.pages
        self._mark(run, FREE)
        self._header[_FREE_PAGES] += run.pages
        self._freed.appendleft(self._around(run))

    def _around(self, run: Run) -> Run:
        """A free run together with what is free on both sides of it, up to some distance."""
        begin, end = self._at + run.first, self._at + run.first + run.pages
        least, most = max(begin - _AROUND, self._at), min(end + _AROUND, self._end)
        before = max(self._map.rfind(WHOLE, least, begin), self._map.rfind(SHARED, least, begin))
        first = least if before < 0 else before + 1
        return Run(first - self._at, self._end_of_free(end, most) - first)

    def _take(self, run: Run, kind: bytes) -> None:
        self._mark(run, kind)
        self._header[_FREE_PAGES] -= run.pages
        if kind == SHARED:
            self._header[_SHARED_PAGES] += run.pages

    def _mark(self, run: Run, kind: bytes) -> None:
        at = self._at + run.first
        self._map[at : at + run.pages] = kind * run.pages

    def _end_of_free(self, begin: int, most: int) -> int:
        whole, shared = self._map.find(WHOLE, begin, most), self._map.find(SHARED, begin, most)
        return min(most if whole < 0 else whole, most if shared < 0 else shared)

    def _among_freed(self, count: int) -> Run | None:
        # What was freed for the sake of something of its own size is best left to that.
        fitting = [run for run in self._freed if run.pages >= count]
        if not fitting:
            return None
        best = min(fitting, key=_pages)
        self._freed.remove(best)
        run = Run(best.first, count)
        if not self._is_free(run):
            return None
        self._put_off(best, count)
        return run

    def _put_off(self, run: Run, used: int) -> None:
        if run.pages > used:
            self._freed.append(Run(run.first + used, run.pages - used))

    def _is_free(self, run: Run) -> bool:
        at = self._at + run.first
        return self._map[at : at + run.pages] == FREE * run.pages

    def _find(self, count: int) -> int:
        """The first page of a free run, from where the last one was taken on; or -1."""
        look = self._short_run if count <= _SHORT_RUN else self._long_run
        hint = self._at + self._header[_HINT]
        found = look(hint, self._end, count)
        if found < 0:
            found = look(self._at, min(hint + count, self._end), count)
        return found - self._at if found >= 0 else -1

    def _short_run(self, begin: int, end: int, count: int) -> int:
        return self._map.find(FREE * count, begin, min(end, begin + _MOST_COMPARED))

    def _long_run(self, begin: int, end: int, count: int) -> int:
        for _ in range(_MOST_SKIPPED if count < _LONG_RUN else _MOST_SKIPPED_FOR_LONG):
            if begin + count > end:
                return -1
            last_taken = max(
                self._map.rfind(WHOLE, begin, begin + count),
                self._map.rfind(SHARED, begin, begin + count),
            )
            if last_taken < 0:
                return begin
            begin = last_taken + 1
        return -1
