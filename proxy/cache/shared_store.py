"""Keys with their contents in memory shared by processes, least recently used out first.

Bounds, order, counts and removals are those of all processes together. Every method takes the
lock itself, but is_current(), use(), read() and splice(), which do without, and get() where it can.
"""

from __future__ import annotations

import math
import os
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache import layout
from proxy.cache.blocks import Extent, Piece, blocks_for
from proxy.cache.entries import NO_BODY, REASONS, Entries, Reason
from proxy.cache.shared_memory import SharedMemory
from proxy.cache.slots import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.cache.unlocked import Glimpsed

# What lies in more pieces is looked up.
_MOST_PIECES = 32

_NEVER_MARKED = math.nan


class Content(NamedTuple):
    """What is stored under a key: ``head`` is read with each lookup, ``body`` may be large."""

    kind: int
    head: bytes
    body: bytes | memoryview | None


class Lifetime(NamedTuple):
    """Deadlines on the store's clock; ``window`` is the seconds between the two."""

    fresh_until: float
    kept_until: float
    window: float


class BodyPlace(NamedTuple):
    """Where in the memory read() finds a body; ``is_lent`` is whether splice() can, too."""

    pieces: tuple[Piece, ...]
    is_lent: bool


class Placed(NamedTuple):
    """Where something is stored.

    ``body_id`` is its body's, which no other body ever has. ``body_place`` is None where the body
    has to be looked up: it is large, in many pieces, or not there.
    """

    slot: int
    version: int
    body_id: int
    body_place: BodyPlace | None


class Stored(NamedTuple):
    """What was found. ``stale_since`` is a time of day, NaN if it was not marked."""

    placed: Placed
    content: Content
    lifetime: Lifetime
    stale_since: float


class SharedStore:
    """At most ``max_entries`` entries in ``max_bytes`` bytes of memory, tables included.

    Bodies from ``pinned_from`` bytes on are given out as views of what is stored, others as copies;
    so is what lies scattered, or when ``pin_rows`` of a process are held already.
    """

    def __init__(self, name: str, plan: layout.Plan) -> None:
        self.plan = plan
        self.memory = SharedMemory(name, plan.size)
        self._held = Entries(self.memory, plan)
        self._header, self._slots = self._held.header, self._held.slots
        self._blocks = self._held.blocks
        # For callers to whom even a method call is much: see is_current() and use().
        self.versions, self.ticks = self._slots.versions, self._slots.ticks
        self._map = self.memory.map
        self._unlocked = self._held.unlocked
        self.memory.on_damage = self._held.reset
        self.memory.on_release = self._held.unpin_dropped

    @property
    def entries(self) -> int:
        """How many keys there are."""
        return self._header[layout.ENTRIES]

    @property
    def taken(self) -> int:
        """What they take, with the table rows of each."""
        return self.plan.bytes_of(self.entries, self.plan.blocks - self._blocks.free)

    @property
    def evictions(self) -> dict[Reason, int]:
        """How many went by themselves, by reason, since the start."""
        return {
            reason: self._header[layout.EVICTED + place] for place, reason in enumerate(REASONS)
        }

    def is_current(self, slot: int, version: int) -> bool:
        """Does the slot still hold what had this version? Without the lock."""
        return self.versions[slot] == version

    def use(self, slot: int, version: int) -> bool:
        """Count as a use of what the slot holds, if it is current. Without the lock."""
        if self.versions[slot] != version:
            return False
        self.ticks[slot] = monotonic_ns()
        return True

    def read(self, slot: int, version: int, pieces: Sequence[Piece]) -> bytes | None:
        """These pieces of the body of what the slot holds, if it is current. Without the lock."""
        if len(pieces) == 1:
            at, size = pieces[0]
            data = self._map[at : at + size]
        else:
            data = b"".join([self._map[at : at + size] for at, size in pieces])
        # Room is given to others after the version has gone, never before: if it is still there,
        # nothing else has been written here meanwhile.
        return data if self.versions[slot] == version else None

    def splice(self, slot: int, version: int, pieces: Sequence[Piece], pipe: int) -> bool:
        """As read(), but into a pipe, of a body that is lent; else what came into it is no body.

        What is in the pipe stays as it is, whatever becomes of the slot. Raises OSError.
        """
        file = self.memory.file
        for at, size in pieces:
            if os.splice(file, pipe, size, at) != size:
                return False
        # The pages of a body that was removed before are others now, and the version has gone; one
        # that is removed from now on leaves the pages to the pipe.
        return self.versions[slot] == version

    def get(self, key: str, now: float) -> Stored | None:
        """What is under the key, which counts as a use; None if it is past ``kept_until``."""
        glimpsed = self._unlocked.use(*self._held.encoded(key), now, self.plan.pinned_from)
        if glimpsed is not None:
            record = glimpsed.record
            return Stored(
                self._placed(glimpsed.slot, glimpsed.version, record),
                Content(record.kind, glimpsed.head, glimpsed.body),
                _lifetime(record),
                record.stale_since,
            )
        with self.memory:
            found = self._held.unexpired(key, now)
            if found is None:
                return None
            slot, record = found
            self.ticks[slot] = monotonic_ns()
            text = self._blocks.read(record.record, record.key_bytes + record.head_bytes)
            body = self._body(slot, record)
            placed = self._placed(slot, self.versions[slot], record)
        return Stored(
            placed,
            Content(record.kind, text[record.key_bytes :], body),
            _lifetime(record),
            record.stale_since,
        )

    def glance(self, key: str, now: float, below: int) -> Glimpsed | None:
        """What is under the key, which counts as a use, if that is told without the lock.

        None as well where its body has ``below`` bytes or more.
        """
        return self._unlocked.use(*self._held.encoded(key), now, below)

    def look(self, key: str, now: float) -> Lifetime | None:
        """The deadlines of what is under the key; not a use."""
        with self.memory:
            found = self._held.unexpired(key, now)
            return None if found is None else _lifetime(found[1])

    def put(
        self, key: str, content: Content, lifetime: Lifetime, body_id: int = 0
    ) -> Placed | None:
        """Store as the most recently used; None when it does not fit, and the key then is absent.

        Where what is under the key has the body called ``body_id``, that one is kept.
        """
        encoded, key_hash = self._held.encoded(key)
        text = encoded + content.head
        body = content.body
        with self.memory:
            found = self._held.find(encoded, key_hash)
            if found is not None:
                slot, record = found
                if body_id and record.body_id == body_id:
                    return self._replace_head(slot, record, text, lifetime)
                self._held.remove(slot, record)
            room = self._held.make_room(len(text), 0 if body is None else len(body))
            if room is None:
                return None
            slot, extents = room
            record = Record(
                *extents[0],
                len(encoded),
                len(content.head),
                *extents[1],
                content.kind,
                NO_BODY if body is None else len(body),
                self._slots.new_body_id(),
                *lifetime,
                _NEVER_MARKED,
            )
            self._slots.write(slot, record)
            self._blocks.write(extents[0], text)
            row = self._held.pin(slot, record)
            if row is None:
                if body is not None:
                    self._blocks.write(extents[1], body)
                return self._placed(slot, self._held.enter(slot, key_hash), record)
            resets = self._header[layout.RESETS]
        # So large that copying it would keep others waiting for the lock. The slot holds nothing
        # yet, and the row keeps its room from being used, were all forgotten meanwhile.
        assert body is not None
        try:
            self._blocks.write(extents[1], body)
        except BaseException:
            with self.memory:
                self._held.unpin(self._held.pins.remove(row))
            raise
        with self.memory:
            placed = None
            if resets == self._header[layout.RESETS]:
                found = self._held.find(encoded, key_hash)
                if found is not None:
                    self._held.remove(*found)
                self._held.make_room_for_one()
                placed = self._placed(slot, self._held.enter(slot, key_hash), record)
            self._held.unpin(self._held.pins.remove(row))
            return placed

    def change(
        self,
        key: str,
        now: float,
        *,
        lifetime: Lifetime | None = None,
        stale_since: float | None = None,
    ) -> bool:
        """Give what is under the key other deadlines, or mark it stale; was there something?

        Not a use. Of several marks the earliest holds; a marked one is not fresh any more.
        """
        with self.memory:
            found = self._held.unexpired(key, now)
            if found is None:
                return False
            slot, record = found
            if lifetime is not None:
                record = record._replace(**lifetime._asdict())
            if stale_since is not None:
                record = record._replace(
                    stale_since=min(stale_since, record.stale_since)
                    if record.stale_since == record.stale_since
                    else stale_since,
                    fresh_until=min(now, record.fresh_until),
                )
            self._slots.lapse(slot)
            self._slots.write(slot, record)
            self._slots.renew(slot)
            return True

    def remove(self, key: str, now: float = -math.inf) -> bool:
        """Remove what is under the key; was there something that ``now`` is not too late for?"""
        with self.memory:
            found = self._held.unexpired(key, now)
            if found is not None:
                self._held.remove(*found)
            return found is not None

    def clear(self) -> int:
        """Remove everything; how many that was. Not an eviction."""
        with self.memory:
            removed = self.entries
            self._held.reset()
            return removed

    def keys(self, most: int) -> Iterator[list[tuple[int, str, float]]]:
        """All keys by slices of at most ``most`` slots: last use, key, ``kept_until``.

        The lock is held for each slice alone; what is stored meanwhile may be missed.
        """
        first = 0
        while first < self._slots.used:
            with self.memory:
                found = [
                    (self.ticks[slot], self._held.key(record), record.kept_until)
                    for slot in range(first, min(first + most, self._slots.used))
                    if self.versions[slot]
                    for record in (self._slots.read(slot),)
                ]
            yield found
            first += most

    def forget_process(self, index: int) -> None:
        """Give back what a process that has died held."""
        with self.memory:
            for slot in self._held.pins.forget(index):
                self._held.unpin(slot)

    # What follows assumes that the lock is held.

    def _placed(self, slot: int, version: int, record: Record) -> Placed:
        size = record.body_bytes
        place = None
        if 0 < size < self.plan.pinned_from and record.body_runs <= _MOST_PIECES:
            body = record.body
            pieces = self._blocks.pieces(body, size)
            place = BodyPlace(tuple(pieces), self._blocks.is_lent(body))
        return Placed(slot, version, record.body_id, place)

    def _body(self, slot: int, record: Record) -> bytes | memoryview | None:
        if record.body_bytes == NO_BODY:
            return None
        row = self._held.pin(slot, record)
        if row is None:
            return self._blocks.read(record.body, record.body_bytes)
        return self._held.pins.view(row, self._blocks.offset(record.body), record.body_bytes)

    def _replace_head(
        self, slot: int, record: Record, text: bytes, lifetime: Lifetime
    ) -> Placed | None:
        # Most recently used, so that others are evicted first for the sake of its head.
        self.ticks[slot] = monotonic_ns()
        version = self.versions[slot]
        room: Extent | None = record.record
        if blocks_for(len(text)) != record.record_blocks or record.record_runs > 1:
            while (room := self._blocks.allocate(len(text))) is None:
                if self.entries == 1 or not self._held.evict("bytes"):
                    self._held.remove(slot, record)
                    return None
                if self.versions[slot] != version:
                    # Others were used since, without the lock: it was the oldest itself.
                    return None
            self._blocks.release(record.record)
        assert room is not None
        self._slots.lapse(slot)
        self._blocks.write(room, text)
        record = record._replace(
            record_start=room.start,
            record_blocks=room.blocks,
            record_runs=room.runs,
            head_bytes=len(text) - record.key_bytes,
            stale_since=_NEVER_MARKED,
            **lifetime._asdict(),
        )
        self._slots.write(slot, record)
        return self._placed(slot, self._slots.renew(slot), record)


def _lifetime(record: Record) -> Lifetime:
    return Lifetime(record.fresh_until, record.kept_until, record.window)
