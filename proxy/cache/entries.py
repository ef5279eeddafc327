"""The entries in a store's memory, evicted in the order of their last use to make room.

Everything here assumes that the lock is held.
"""

from __future__ import annotations

import secrets
from collections import Counter
from time import monotonic_ns
from typing import TYPE_CHECKING, Literal

from proxy.cache import layout
from proxy.cache.blocks import Blocks, Care, Extent, blocks_for
from proxy.cache.index import Index
from proxy.cache.pins import Pins
from proxy.cache.recency import Recency
from proxy.cache.slots import Record, Slots
from proxy.cache.unlocked import Unlocked

if TYPE_CHECKING:
    from proxy.cache.layout import Plan
    from proxy.cache.shared_memory import SharedMemory

Reason = Literal["entries", "bytes", "expired"]
REASONS: tuple[Reason, ...] = ("entries", "bytes", "expired")

NO_BODY = 2**64 - 1

# How many more are removed than there has to be room for, so that a large body is in one piece, or
# at least in pages: those that come next find what they leave.
_TRIES_FOR_ONE_RUN, _TRIES_FOR_PAGES = 2, 34
# Not where so much is free already: a part of all blocks, or of what is needed twice.
_UNUSED_PART = 32

_HASH_MASK = 2**64 - 1


class Entries:
    """Slots under the keys that their records hold, at most ``plan.entries`` of them."""

    def __init__(self, memory: SharedMemory, plan: Plan) -> None:
        header = memory.words(plan.header_at, layout.HEADER_WORDS)
        self.plan = plan
        self.header = header[layout.OWN]
        self.slots = Slots(memory, header[layout.SLOTS], plan.slots_at, plan.slots)
        self.blocks = Blocks(
            memory,
            header[layout.BLOCKS],
            plan.map_at,
            plan.pages_at,
            plan.blocks,
            plan.paged_from,
            plan.pinned_from if memory.is_renewable else 0,
        )
        self.pins = Pins(memory, plan.pins_at, plan.processes, plan.pin_rows)
        self._versions, self._ticks = self.slots.versions, self.slots.ticks
        self._recency = Recency(
            memory, header[layout.RECENCY], plan.queue_at, self._ticks, self._versions
        )
        self._index = Index(memory, plan.index_at, plan.entries, self.slots.hashes)
        self.unlocked = Unlocked(memory, self._index, self.slots, self.blocks)
        self._salt = secrets.token_hex(8)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.header[layout.ENTRIES]

    def encoded(self, key: str) -> tuple[bytes, int]:
        """A key's bytes, with its hash."""
        # Python's own hash is keyed per family of forked processes, unless PYTHONHASHSEED says
        # otherwise; the salt is for then.
        return key.encode("utf-8", "surrogatepass"), hash(self._salt + key) & _HASH_MASK

    def key(self, record: Record) -> str:
        """The key that a record is under."""
        return self.blocks.read(record.record, record.key_bytes).decode("utf-8", "surrogatepass")

    def find(self, key: bytes, key_hash: int) -> tuple[int, Record] | None:
        """The slot under a key, and what it holds."""
        for slot in self._index.find(key_hash):
            record = self.slots.read(slot)
            if self.blocks.read(record.record, record.key_bytes) == key:
                return slot, record
        return None

    def unexpired(self, key: str, now: float) -> tuple[int, Record] | None:
        """The same, unless it is past ``kept_until``: then it is removed."""
        found = self.find(*self.encoded(key))
        if found is not None and now >= found[1].kept_until:
            self.remove(*found)
            self._count("expired")
            return None
        return found

    def enter(self, slot: int, key_hash: int) -> int:
        """Let a key lead to a slot that has been written; the slot's version."""
        self.slots.hashes[slot] = key_hash
        self._ticks[slot] = monotonic_ns()
        self._index.add(slot)
        self.header[layout.ENTRIES] += 1
        return self.slots.renew(slot)

    def remove(self, slot: int, record: Record) -> None:
        """Take an entry out; its body's room is free when nothing pins it."""
        self._index.remove(slot)
        self._versions[slot] = 0
        self.header[layout.ENTRIES] -= 1
        self.blocks.release(record.record)
        if self.slots.pins[slot]:
            self.slots.write(slot, record._replace(record_blocks=0, record_runs=1))
        else:
            self.blocks.release(record.body)
            self.slots.give_back(slot)

    def evict(self, reason: Reason) -> bool:
        """Remove the least recently used; false if there is nothing."""
        slot = self._recency.oldest(self.slots.used)
        if slot is None:
            return False
        self.remove(slot, self.slots.read(slot))
        self._count(reason)
        return True

    def _count(self, reason: Reason) -> None:
        self.header[layout.EVICTED + REASONS.index(reason)] += 1

    def make_room(self, text: int, body: int) -> tuple[int, tuple[Extent, Extent]] | None:
        """A slot with rooms of these sizes; None, and nobody evicted, where it cannot be."""
        needed = blocks_for(text) + blocks_for(body)
        if needed > self.plan.blocks - self.header[layout.PINNED]:
            return None
        self.make_room_for_one()
        care, tries = Care.ONE_RUN, 0
        enough = max(2 * needed, self.plan.blocks // _UNUSED_PART)
        while (extents := self._extents(text, body, needed, care)) is None:
            if self.blocks.free >= needed:
                tries += 1
                care = _care_after(tries) if self.blocks.free < enough else Care.NONE
            if not self.evict("bytes"):
                if care is Care.NONE:
                    return None
                care = Care.NONE
        while (slot := self.slots.take()) is None:
            if not self.evict("entries"):
                for extent in extents:
                    self.blocks.release(extent)
                return None
        return slot, extents

    def make_room_for_one(self) -> None:
        """Evict what is one too many."""
        while self.count >= self.plan.entries and self.evict("entries"):
            pass

    def _extents(
        self, text: int, body: int, needed: int, care: Care
    ) -> tuple[Extent, Extent] | None:
        if needed > self.blocks.free:
            return None
        first = self.blocks.allocate(text)
        if first is None:
            return None
        second = self.blocks.allocate(body, care)
        if second is None:
            self.blocks.release(first)
            return None
        return first, second

    def pin(self, slot: int, record: Record) -> int | None:
        """Keep a large body from being overwritten; None where it is not, or cannot be."""
        if not self.plan.pinned_from <= record.body_bytes < NO_BODY or record.body_runs != 1:
            return None
        row = self.pins.add(slot, record.body)
        if row is not None:
            if not self.slots.pins[slot]:
                self.header[layout.PINNED] += record.body_blocks
            self.slots.pins[slot] += 1
        return row

    def unpin(self, slot: int) -> None:
        """One pin less; with the last one goes what has been removed meanwhile."""
        self.slots.pins[slot] -= 1
        if self.slots.pins[slot]:
            return
        record = self.slots.read(slot)
        self.header[layout.PINNED] -= record.body_blocks
        if not self._versions[slot]:
            # Removed while it was pinned, or never entered.
            self.blocks.release(record.record)
            self.blocks.release(record.body)
            self.slots.give_back(slot)

    def unpin_dropped(self) -> None:
        """Unpin what this process has no view of any more."""
        for row in self.pins.dropped():
            self.unpin(self.pins.remove(row))

    def reset(self) -> None:
        """Forget everything but the rooms that some process has a view of."""
        held = list(self.pins.held())
        rooms = dict(held)
        self.header[layout.RESETS] += 1
        self.header[layout.ENTRIES] = 0
        self.header[layout.PINNED] = sum(extent.blocks for extent in rooms.values())
        # Versions go first: who reads without the lock shall not find rooms that were emptied.
        self.slots.reset(rooms)
        self.blocks.reset(list(rooms.values()))
        for slot, pins in Counter(slot for slot, _ in held).items():
            self.slots.pins[slot] = pins
        self._index.reset()
        self._recency.reset()


def _care_after(tries: int) -> Care:
    if tries < _TRIES_FOR_ONE_RUN:
        return Care.ONE_RUN
    return Care.PAGES if tries < _TRIES_FOR_PAGES else Care.NONE
