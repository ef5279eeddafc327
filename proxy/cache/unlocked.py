"""Reads what is stored without the lock.

A slot's version says whether what was read of it holds. Whoever changes what a slot holds, holding
the lock, first takes the version away, and what is removed has lost its version before its room is
given to others. So what was read between two looks at the same version is whole, and of that
version, whoever is killed in the middle of whatever. What is not found in this way may be there
all the same, and has to be looked up under the lock.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache.blocks import Extent
from proxy.cache.slots import RECORD, Record

if TYPE_CHECKING:
    from proxy.cache.blocks import Blocks
    from proxy.cache.index import Index
    from proxy.cache.shared_memory import SharedMemory
    from proxy.cache.slots import Slots


class Glimpsed(NamedTuple):
    """What a slot held, with its version then, and the head and body of what it holds."""

    slot: int
    version: int
    record: Record
    head: bytes
    body: bytes


class Unlocked:
    """Finds entries whose parts each lie in one piece."""

    def __init__(self, memory: SharedMemory, index: Index, slots: Slots, blocks: Blocks) -> None:
        self._map = memory.map
        self._table, self._mask = index.table, index.mask
        self._hashes, self._versions, self._ticks = slots.hashes, slots.versions, slots.ticks
        self._records_at = slots.records_at
        self._data_at = blocks.offset(Extent(0, 0, 1))
        self._block = blocks.offset(Extent(1, 0, 1)) - self._data_at

    def use(self, key: bytes, key_hash: int, now: float, below: int) -> Glimpsed | None:
        """What is under a key, which counts as a use; perhaps None.

        Surely None of what is past ``kept_until``, and where the body has ``below`` bytes or more.
        """
        table, mask, hashes = self._table, self._mask, self._hashes
        place = key_hash & mask
        while found := table[place]:
            if hashes[found - 1] == key_hash:
                break
            place = (place + 1) & mask
        else:
            return None
        slot = found - 1
        version = self._versions[slot]
        record = Record._make(RECORD.unpack_from(self._map, self._records_at + RECORD.size * slot))
        size = record.body_bytes
        # Whatever another process is writing here, sizes below these bounds can be read.
        if (
            size >= below
            or record.record_runs != 1
            or record.body_runs != 1
            or now >= record.kept_until
        ):
            return None
        key_end = record.key_bytes
        at = self._data_at + record.record_start * self._block
        text = self._map[at : at + key_end + record.head_bytes]
        at = self._data_at + record.body_start * self._block
        body = self._map[at : at + size]
        if self._versions[slot] != version or not version or text[:key_end] != key:
            return None
        self._ticks[slot] = monotonic_ns()
        return Glimpsed(slot, version, record, text[key_end:], body)
