"""Whether the parts of a store in shared memory agree with each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.cache.blocks import Extent
    from proxy.cache.shared_store import SharedStore


def audit(store: SharedStore) -> None:
    """Every block is free or some entry's; all counts are what they count."""
    plan, held = store.plan, store._held
    slots, blocks, pins = held.slots, held.blocks, held.pins
    with store.memory:
        live = [slot for slot in range(slots.used) if slots.versions[slot]]
        pinned = Counter(slot for slot, _ in pins.held())
        assert {slot: slots.pins[slot] for slot in range(slots.used) if slots.pins[slot]} == pinned
        taken: Counter[int] = Counter()
        for slot in {*live, *pinned}:
            record = slots.read(slot)
            for extent in (record.record, record.body):
                taken.update(_blocks_of(store, extent))
        assert not [block for block, times in taken.items() if times > 1]
        ones = store.memory.map[plan.map_at : plan.map_at + plan.blocks]
        assert {block for block, mark in enumerate(ones) if mark} == set(taken)
        assert blocks.free == plan.blocks - len(taken)
        assert store.entries == len(live) <= plan.entries
        table = [found - 1 for found in held._index.table if found]
        assert sorted(table) == live
        for slot in live:
            key = held.key(slots.read(slot))
            found = held.find(*held.encoded(key))
            assert found is not None
            assert found[0] == slot
        rooms = {slot: extent.blocks for slot, extent in pins.held()}
        assert held.header[2] == sum(rooms.values())
    assert store.taken <= plan.size


def _blocks_of(store: SharedStore, extent: Extent) -> list[int]:
    runs = store._held.blocks._runs(extent)
    return [block for start, count in runs for block in range(start, start + count)]
