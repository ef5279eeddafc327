"""A hash table in shared memory, from the hashes of keys to slots.

Open addressing, at most half full. Removing moves what follows closer to its place, so there are
no graves to pass. Everything assumes that the lock is held; without it a walk along the table may
miss what is being moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cache.shared_memory import SharedMemory


def table_length(entries: int) -> int:
    """How many places a table for so many entries has: a power of two."""
    return 1 << (2 * entries - 1).bit_length()


class Index:
    """Slots by their hashes; ``hashes`` has each slot's."""

    def __init__(
        self, memory: SharedMemory, at: int, entries: int, hashes: memoryview[int]
    ) -> None:
        length = table_length(entries)
        self._map = memory.map
        self._at = at
        self._size = 4 * length
        self.mask = length - 1
        self._hashes = hashes
        # A slot's number plus one; 0 is an empty place.
        self.table = memory.halves(at, length)

    def reset(self) -> None:
        """Forget everything."""
        self._map[self._at : self._at + self._size] = bytes(self._size)

    def find(self, key_hash: int) -> Iterator[int]:
        """The slots with this hash: nearly always one or none."""
        place = key_hash & self.mask
        while found := self.table[place]:
            if self._hashes[found - 1] == key_hash:
                yield found - 1
            place = (place + 1) & self.mask

    def add(self, slot: int) -> None:
        """Enter a slot under the hash it has."""
        place = self._hashes[slot] & self.mask
        while self.table[place]:
            place = (place + 1) & self.mask
        self.table[place] = slot + 1

    def remove(self, slot: int) -> None:
        """Take out a slot that is in; raises LookupError for one that is not."""
        table, mask = self.table, self.mask
        empty = self._hashes[slot] & mask
        while table[empty] != slot + 1:
            if not table[empty]:
                raise LookupError(f"slot {slot} is not in the index")
            empty = (empty + 1) & mask
        place = empty
        while True:
            table[empty] = 0
            while True:
                place = (place + 1) & mask
                found = table[place]
                if not found:
                    return
                home = self._hashes[found - 1] & mask
                # May it move to the empty place, or does that lie before its home?
                if (place - home) & mask >= (place - empty) & mask:
                    break
            table[empty] = found
            empty = place
