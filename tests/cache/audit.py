"""Whether the parts of a store in shared memory agree with each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from proxy.cache.block_map import PAGE_BLOCKS
from proxy.cache.page_map import SHARED, WHOLE

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
        _audit_maps(store, set(taken))
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


def _audit_maps(store: SharedStore, taken: set[int]) -> None:
    """Pages are nobody's, one body's or shared; of shared ones alone the blocks are free."""
    plan, blocks = store.plan, store._held.blocks
    pages = store.memory.map[plan.pages_at : plan.pages_at + plan.blocks // PAGE_BLOCKS]
    free = store.memory.map[plan.map_at : plan.map_at + plan.blocks]
    for page, kind in enumerate(pages):
        within = set(range(page * PAGE_BLOCKS, (page + 1) * PAGE_BLOCKS))
        marked = {block for block in within if free[block]}
        if kind == SHARED[0]:
            assert marked == within - taken
        else:
            assert not marked
            assert within <= taken if kind == WHOLE[0] else not within & taken
    rest = range(len(pages) * PAGE_BLOCKS, plan.blocks)
    assert {block for block in rest if free[block]} == set(rest) - taken
    assert blocks._pages.free == pages.count(0)
    assert blocks._pages.shared == pages.count(SHARED)
    assert blocks._shared.free == free.count(1)


def _blocks_of(store: SharedStore, extent: Extent) -> list[int]:
    runs = store._held.blocks._runs(extent)
    return [block for start, count in runs for block in range(start, start + count)]
