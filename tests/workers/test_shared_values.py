"""Numbers in memory that several processes share."""

from __future__ import annotations

import pytest

from proxy.shared_values import Region, RegionFullError


def region(words: int = 64) -> tuple[memoryview, Region]:
    memory = memoryview(bytearray(words * 8))
    return memory, Region(memory)


def test_what_one_process_made_another_finds() -> None:
    memory, mine = region()
    other = Region(memory)
    assert other.find(b"key") is None
    slot = mine.make(b"key")
    mine.numbers[slot] += 1.5
    assert other.find(b"key") == slot
    assert other.numbers[slot] == 1.5


def test_a_successor_goes_on_where_the_dead_one_was() -> None:
    memory, dead = region()
    slots = [dead.make(key) for key in (b"a", b"exactly8", b"longer than a word")]
    assert len(set(slots)) == 3
    successor = Region(memory)
    assert [successor.make(key) for key in (b"a", b"exactly8", b"longer than a word")] == slots
    assert successor.make(b"new") > max(slots)


def test_a_full_region_takes_nothing_more_and_keeps_what_it_has() -> None:
    _, full = region(words=8)
    slot = full.make(b"a")
    full.make(b"b")
    with pytest.raises(RegionFullError):
        full.make(b"c")
    assert full.make(b"a") == slot
    assert full.all_keys() == [b"a", b"b"]
