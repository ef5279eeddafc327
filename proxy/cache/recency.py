"""The order in which slots were last used, read off the moments of their last use.

A use only writes the moment into the slot's tick, without the lock. The slots used longest ago
are collected in a queue now and then; one whose tick has moved since is newer than all that are
left in the queue, and skipped. So the order is exact, at some 100 ns a slot and use.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.cache.shared_memory import SharedMemory

_NEXT, _END = range(2)
WORDS = 2

_SAMPLED = 1024
_CHUNK = 4096


def queue_length(slots: int) -> int:
    """How many slots to collect at once: few enough that their sorting is no pause."""
    return min(slots, max(256, slots // 64))


class Recency:
    """The least recently used of the slots that have a version; assumes the lock is held."""

    def __init__(
        self,
        memory: SharedMemory,
        header: memoryview[int],
        queue_at: int,
        ticks: memoryview[int],
        versions: memoryview[int],
    ) -> None:
        self._header = header
        self._ticks = ticks
        self._versions = versions
        self._length = queue_length(len(ticks))
        self._queue = memory.words(queue_at, 2 * self._length)

    def reset(self) -> None:
        """Forget what was collected."""
        self._header[_NEXT] = self._header[_END] = 0

    def oldest(self, slots: int) -> int | None:
        """The least recently used of the first ``slots``; None if none holds anything.

        Whoever asks has to take it away: it is given once.
        """
        header, queue, ticks, versions = self._header, self._queue, self._ticks, self._versions
        while True:
            end = header[_END]
            for place in range(header[_NEXT], end):
                slot = queue[2 * place + 1]
                if versions[slot] and ticks[slot] == queue[2 * place]:
                    header[_NEXT] = place + 1
                    return slot
            header[_NEXT] = end
            if not self._collect(slots):
                return None

    def _collect(self, slots: int) -> bool:
        # A sample tells a moment before which about a queue's worth were used last.
        sample = sorted(
            self._ticks[slot]
            for slot in range(0, slots, max(1, slots // _SAMPLED))
            if self._versions[slot]
        )
        wanted = len(sample) * self._length // max(slots, 1)
        before = sample[wanted] if wanted < len(sample) else None
        found = self._used_before(before, slots) or self._used_before(None, slots)
        found.sort()
        del found[self._length :]
        for place, (tick, slot) in enumerate(found):
            self._queue[2 * place], self._queue[2 * place + 1] = tick, slot
        self._header[_NEXT], self._header[_END] = 0, len(found)
        return bool(found)

    def _used_before(self, moment: int | None, slots: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for first in range(0, slots, _CHUNK):
            last = min(first + _CHUNK, slots)
            rows = zip(
                self._ticks[first:last].tolist(),
                count(first),
                self._versions[first:last].tolist(),
                strict=False,
            )
            if moment is None:
                found += [(tick, slot) for tick, slot, version in rows if version]
            else:
                found += [(tick, slot) for tick, slot, version in rows if tick < moment and version]
        return found
