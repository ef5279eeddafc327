"""A store in shared memory does what a list of entries does, however its memory is cut up."""

from __future__ import annotations

import fcntl
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.cache.block_map import BLOCK
from proxy.cache.blocks import blocks_for
from proxy.cache.layout import Plan
from proxy.cache.shared_store import Content, Lifetime, SharedStore
from tests.cache.audit import audit

FOR_EVER = Lifetime(math.inf, math.inf, math.inf)
KEYS = st.sampled_from(["", "a", "b", "c", "d/e", "\u00e9", "\N{SNOWMAN}", "k" * 300])
PINNED_FROM = 5 * BLOCK


class Stores(RuleBasedStateMachine):
    """A small store beside a dict from the least to the most recently used."""

    # How many times the memory, and the bodies, are as large as those of the smallest store.
    scale = 1
    pinned_from = PINNED_FROM

    @initialize(entries=st.integers(1, 7), size=st.integers(3000, 12_000))
    def begin(self, entries: int, size: int) -> None:
        plan = Plan.of(entries, size * self.scale, 1, self.pinned_from)
        self.store = SharedStore("model", plan)
        self.model: dict[str, tuple[bytes, bytes | None]] = {}
        self.views: list[tuple[memoryview, bytes]] = []
        self.counter = 0

    @rule(key=KEYS, head=st.integers(0, 400), body=st.none() | st.integers(0, 6000))
    def put(self, key: str, head: int, body: int | None) -> None:
        self.counter += 1
        mark = b"%07d" % self.counter
        whole = mark * (1000 * self.scale)
        value = whole[:head], None if body is None else whole[: body * self.scale]
        before = {name: value for name, value in self.model.items() if name != key}
        placed = self.store.put(key, Content(1, *value), FOR_EVER)
        after = self.by_use()
        if placed is None:
            assert key not in after
            # Nobody goes for what cannot be stored, unless what is pinned stands in the way.
            if self.blocks(key, value) > self.store.plan.blocks:
                assert after == list(before)
        else:
            assert after[-1] == key
            assert self.store.is_current(placed.slot, placed.version)
        evicted = len(before) - (len(after) - (placed is not None))
        survivors = list(before)[evicted:]
        assert after == survivors + [key] * (placed is not None)
        if evicted and placed is not None and not self.views and self.scale == 1:
            # With one evicted less there would have been no room.
            spared = list(before)[evicted - 1]
            entries = [(name, before[name]) for name in (spared, *survivors)]
            needed = sum(self.blocks(*entry) for entry in entries) + self.blocks(key, value)
            links = len(entries) + 3
            too_many = len(entries) + 1 > self.store.plan.entries
            assert too_many or needed + links > self.store.plan.blocks
        self.model = {name: before[name] for name in survivors}
        if placed is not None:
            self.model[key] = value

    def by_use(self) -> list[str]:
        found = [row for rows in self.store.keys(3) for row in rows]
        return [key for _, key, _ in sorted(found)]

    @staticmethod
    def blocks(key: str, value: tuple[bytes, bytes | None]) -> int:
        head, body = value
        return blocks_for(len(key.encode()) + len(head)) + blocks_for(len(body or b""))

    @rule(key=KEYS, hold=st.booleans())
    def get(self, key: str, hold: bool) -> None:
        stored = self.store.get(key, 0)
        if key not in self.model:
            assert stored is None
            return
        assert stored is not None
        head, body = self.model[key] = self.model.pop(key)
        found = stored.content.body
        assert (stored.content.head, None if found is None else bytes(found)) == (head, body)
        if hold and isinstance(found, memoryview):
            assert body is not None
            self.views.append((found, body))

    @rule()
    def let_go(self) -> None:
        if self.views:
            self.views.pop(0)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        assert self.store.remove(key) is (self.model.pop(key, None) is not None)

    @rule(key=KEYS)
    def mark(self, key: str) -> None:
        assert self.store.change(key, 0, stale_since=5.0) is (key in self.model)

    @rule()
    def clear(self) -> None:
        assert self.store.clear() == len(self.model)
        self.model.clear()

    @rule()
    def damage(self) -> None:
        with pytest.raises(KeyError), self.store.memory:
            raise KeyError
        self.model.clear()

    @invariant()
    def agrees(self) -> None:
        audit(self.store)
        assert self.by_use() == list(self.model)
        for view, body in self.views:
            assert view == body

    def teardown(self) -> None:
        self.views.clear()
        audit(self.store)


class StoresWithPages(Stores):
    """Bodies from 16 KiB on have pages of their own, and are lent up to 48 KiB."""

    scale = 14
    pinned_from = 48 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.pipes: list[tuple[int, bytes]] = []

    @rule(key=KEYS, keep=st.booleans())
    def lend(self, key: str, keep: bool) -> None:
        stored = self.store.get(key, 0)
        if stored is None:
            return
        _, body = self.model[key] = self.model.pop(key)
        slot, version, _, place = stored.placed
        if place is None or not place.is_lent or body is None:
            return
        reader, writer = os.pipe()
        try:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 2**18)
            assert self.store.splice(slot, version, place.pieces, writer)
        finally:
            os.close(writer)
        self.pipes.append((reader, body))
        if not keep:
            self.take_back()

    @rule()
    def take_back(self) -> None:
        """What was lent is still what it was."""
        if self.pipes:
            reader, body = self.pipes.pop(0)
            with os.fdopen(reader, "rb") as pipe:
                assert pipe.read(len(body)) == body

    def teardown(self) -> None:
        while self.pipes:
            self.take_back()
        super().teardown()


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStoresWithPages = StoresWithPages.TestCase
TestStoresWithPages.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(1, 3000), max_size=40), st.randoms(use_true_random=False))
def test_whatever_is_no_more_than_the_free_blocks_finds_room(sizes: list[int], random) -> None:  # type: ignore[no-untyped-def]
    store = SharedStore("model", Plan.of(100, 60_000, 1))
    blocks = store._held.blocks
    held = []
    for number, size in enumerate(sizes):
        data = (b"%05d" % number * 600)[:size]
        free = blocks.free
        extent = blocks.allocate(size)
        if extent is None:
            # The links of several runs may take a block more.
            assert blocks_for(size) + 3 + size // 1000 > free or blocks_for(size) > free // 2
        else:
            blocks.write(extent, data)
            held.append((extent, data))
        if held and random.random() < 0.4:
            blocks.release(held.pop(random.randrange(len(held)))[0])
        for kept, wanted in held:
            assert blocks.read(kept, len(wanted)) == wanted
    for kept, _ in held:
        blocks.release(kept)
    assert blocks.free == store.plan.blocks
