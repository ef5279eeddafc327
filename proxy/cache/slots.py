"""Records of fixed size in shared memory, one for each stored entry.

A slot that holds something has a version, a number that never comes again; whatever changes what
the slot holds changes it, and 0 means that it holds nothing, or is being changed. Versions and
ticks have arrays of their own, since they are read and written without the lock; all else assumes
that it is held, but where proxy.cache.unlocked reads it between two looks at a version.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache.blocks import Extent

if TYPE_CHECKING:
    from proxy.cache.shared_memory import SharedMemory

RECORD = struct.Struct("<9I4xQQ4d")

# Record, hash, version, tick, pins.
SLOT_BYTES = RECORD.size + 3 * 8 + 4

_USED, _FREE, _VERSION = range(3)
WORDS = 3


class Record(NamedTuple):
    """What a slot holds: ``record`` is the room of key and head, ``body`` that of the body.

    ``body_id`` changes when the body does. Deadlines are on the store's clock; ``window`` is the
    seconds between them. ``stale_since`` is a time of day, NaN where nothing was marked.
    """

    record_start: int
    record_blocks: int
    record_runs: int
    key_bytes: int
    head_bytes: int
    body_start: int
    body_blocks: int
    body_runs: int
    kind: int
    body_bytes: int
    body_id: int
    fresh_until: float
    kept_until: float
    window: float
    stale_since: float

    @property
    def record(self) -> Extent:
        """Where key and head are."""
        return Extent(self.record_start, self.record_blocks, self.record_runs)

    @property
    def body(self) -> Extent:
        """Where the body is."""
        return Extent(self.body_start, self.body_blocks, self.body_runs)


class Slots:
    """``count`` records in shared memory."""

    def __init__(self, memory: SharedMemory, header: memoryview[int], at: int, count: int) -> None:
        self.count = count
        self._map = memory.map
        self._header = header
        self.versions = memory.words(at, count)
        self.ticks = memory.words(at + 8 * count, count)
        self.hashes = memory.words(at + 16 * count, count)
        self._versions_at = at
        self.records_at = at + 24 * count
        self.pins = memory.halves(self.records_at + RECORD.size * count, count)

    @property
    def used(self) -> int:
        """All slots from here on have never held anything."""
        return self._header[_USED]

    def reset(self, kept: dict[int, Extent]) -> None:
        """Empty all slots but these, of which the body's room is kept."""
        self._map[self._versions_at : self._versions_at + 8 * self.count] = bytes(8 * self.count)
        self.pins[:] = memoryview(bytes(4 * self.count)).cast("I")
        self._header[_FREE] = 0
        self._header[_USED] = max(kept, default=-1) + 1
        for slot in range(self._header[_USED]):
            if slot in kept:
                start, blocks, runs = kept[slot]
                self.write(slot, Record(0, 0, 1, 0, 0, start, blocks, runs, *[0] * 7))
            else:
                self.give_back(slot)

    def take(self) -> int | None:
        """An empty slot; None when all are taken."""
        header = self._header
        if header[_FREE]:
            slot = header[_FREE] - 1
            # An empty slot's hash leads to the next empty one.
            header[_FREE] = self.hashes[slot]
            return slot
        slot = header[_USED]
        if slot == self.count:
            return None
        header[_USED] = slot + 1
        return slot

    def give_back(self, slot: int) -> None:
        """The slot is empty from now on."""
        self.hashes[slot] = self._header[_FREE]
        self._header[_FREE] = slot + 1

    def lapse(self, slot: int) -> None:
        """What the slot holds is about to change: nobody may trust in it until renew()."""
        self.versions[slot] = 0

    def renew(self, slot: int) -> int:
        """Give the slot a new version, and return it."""
        version = self._header[_VERSION] + 1
        self._header[_VERSION] = version
        self.versions[slot] = version
        return version

    def new_body_id(self) -> int:
        """A number for a body that no other has."""
        self._header[_VERSION] += 1
        return self._header[_VERSION]

    def read(self, slot: int) -> Record:
        """What the slot holds."""
        at = self.records_at + RECORD.size * slot
        return Record._make(RECORD.unpack_from(self._map, at))

    def write(self, slot: int, record: Record) -> None:
        """Let the slot hold something else; its version has lapsed before, and is renewed after."""
        RECORD.pack_into(self._map, self.records_at + RECORD.size * slot, *record)
