"""How a store's memory is divided."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from proxy.cache import blocks, pins, recency, slots
from proxy.cache.block_map import BLOCK, BLOCK_COST, PAGE_BLOCKS
from proxy.cache.index import table_length

# Words of the header, by whose they are; the store's own ones by name.
BLOCKS = slice(0, blocks.WORDS)
RECENCY = slice(BLOCKS.stop, BLOCKS.stop + recency.WORDS)
SLOTS = slice(RECENCY.stop, RECENCY.stop + slots.WORDS)
OWN = slice(SLOTS.stop, SLOTS.stop + 6)
ENTRIES, RESETS, PINNED, EVICTED = 0, 1, 2, 3
HEADER_WORDS = OWN.stop

# A lookup that copies less than this is no slower than one that pins.
_PINNED_FROM = 256 * 1024
_MOST_PIN_ROWS = 512
# A lookup that copies less than this is hardly slower than one that takes references to pages, of
# which a body would waste too much if they were few.
_PAGED_FROM = 4 * mmap.PAGESIZE

# What decoded values may take in the processes: this part of all, but no more than what many of
# them cost the garbage collector is worth.
_LOCAL_PART = 8
_MOST_LOCAL_BYTES = 64 << 20

# What each entry takes in tables, at most: a slot, places in the index and in the queue.
_ENTRY_BYTES = slots.SLOT_BYTES + 16 + 16


@dataclass(frozen=True, slots=True)
class Plan:
    """Where in ``size`` bytes of memory each table lies, and how much each holds.

    The blocks are before the tables. ``local_bytes`` is left for the decoded values of each
    process. Bodies from ``pinned_from`` bytes on are given out as views, those from ``paged_from``
    on are in whole pages.
    """

    entries: int
    slots: int
    blocks: int
    processes: int
    pin_rows: int
    paged_from: int
    pinned_from: int
    local_bytes: int
    header_at: int
    slots_at: int
    index_at: int
    queue_at: int
    pins_at: int
    map_at: int
    pages_at: int
    size: int

    @classmethod
    def of(
        cls, max_entries: int, max_bytes: int, processes: int, pinned_from: int = _PINNED_FROM
    ) -> Plan:
        """Divide ``max_bytes`` bytes for ``max_entries`` entries, or as many as fit.

        Half of it at most is for tables: who allows for a billion entries means no limit, and
        not that no room shall be left for what they hold.
        """
        local = min(max_bytes // _LOCAL_PART, _MOST_LOCAL_BYTES) // processes
        budget = max_bytes - local * processes
        pin_rows = min(_MOST_PIN_ROWS, budget // pinned_from)
        all_rows = pin_rows * processes
        entries = max(1, min(max_entries, budget // 2 // _ENTRY_BYTES))
        # What is removed while it is pinned keeps its slot.
        slot_count = entries + min(all_rows, entries)

        sizes = (
            8 * HEADER_WORDS,
            slots.SLOT_BYTES * slot_count,
            4 * table_length(entries),
            16 * recency.queue_length(slot_count),
            pins.ROW_BYTES * all_rows,
        )
        tables = sum(_aligned(size) for size in sizes)
        # With a byte for each page, of which there is at least a part.
        tables += 1 + budget // mmap.PAGESIZE
        count = max(0, (budget - tables) // BLOCK_COST)
        # The blocks are first, since pages begin there.
        at = count * BLOCK
        offsets = []
        for size in sizes:
            offsets.append(at)
            at += _aligned(size)
        header_at, slots_at, index_at, queue_at, pins_at = offsets
        return cls(
            entries=entries,
            slots=slot_count,
            blocks=count,
            processes=processes,
            pin_rows=pin_rows,
            paged_from=_PAGED_FROM,
            pinned_from=pinned_from,
            local_bytes=local,
            header_at=header_at,
            slots_at=slots_at,
            index_at=index_at,
            queue_at=queue_at,
            pins_at=pins_at,
            map_at=at,
            pages_at=at + count,
            size=at + count + 1 + count // PAGE_BLOCKS,
        )

    def bytes_of(self, entries: int, taken: int) -> int:
        """What so many entries in so many blocks take."""
        return entries * _ENTRY_BYTES + taken * BLOCK_COST


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
