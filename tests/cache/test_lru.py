"""The bounds and the order of proxy.cache.lru."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest

from proxy.cache.lru import LRU, SLOT_BYTES, Reason
from tests.cache.lru_model import charge


def test_a_value_put_is_the_value_got() -> None:
    lru: LRU[object] = LRU(10, 10_000)
    value = object()
    assert lru.put("k", value, 5)
    assert lru.get("k") is value
    assert lru.peek("k") is value


def test_an_unknown_key_gives_none() -> None:
    lru: LRU[str] = LRU(10, 10_000)
    assert (lru.get("k"), lru.peek("k"), lru.pop("k")) == (None, None, None)


def test_a_false_value_is_not_an_absent_one() -> None:
    lru: LRU[bytes] = LRU(10, 10_000)
    lru.put("k", b"", 0)
    assert lru.get("k") == b""
    assert "k" in lru


def test_the_least_recently_got_entry_goes_first() -> None:
    lru: LRU[int] = LRU(2, 10_000)
    lru.put("a", 1, 1)
    lru.put("b", 2, 1)
    lru.get("a")
    lru.put("c", 3, 1)
    assert lru.keys() == ["a", "c"]


def test_peek_and_contains_leave_the_order_alone() -> None:
    lru: LRU[int] = LRU(2, 10_000)
    lru.put("a", 1, 1)
    lru.put("b", 2, 1)
    lru.peek("a")
    assert "a" in lru
    lru.put("c", 3, 1)
    assert lru.keys() == ["b", "c"]


def test_putting_again_makes_an_entry_the_most_recent_and_counts_it_once() -> None:
    lru: LRU[int] = LRU(2, 10_000)
    lru.put("a", 1, 100)
    lru.put("b", 2, 1)
    lru.put("a", 3, 7)
    assert lru.items() == [("b", 2), ("a", 3)]
    assert lru.bytes == charge("a", 7) + charge("b", 1)


def test_bytes_make_room_oldest_first() -> None:
    lru: LRU[int] = LRU(100, 3 * charge("a", 100))
    for number, key in enumerate("abc"):
        lru.put(key, number, 100)
    lru.put("d", 4, 150)
    assert lru.keys() == ["c", "d"]
    assert lru.evictions == {"entries": 0, "bytes": 2, "expired": 0}


def test_a_value_that_fills_all_bytes_is_stored() -> None:
    lru: LRU[int] = LRU(10, charge("k", 100))
    assert lru.put("k", 1, 100)
    assert lru.bytes == lru.max_bytes


def test_a_value_too_large_for_the_whole_is_refused_with_nobody_evicted() -> None:
    lru: LRU[int] = LRU(10, 2 * charge("k", 100))
    lru.put("other", 0, 1)
    assert not lru.put("k", 1, 1000)
    assert lru.keys() == ["other"]
    assert lru.evictions == {"entries": 0, "bytes": 0, "expired": 0}


def test_a_refused_value_takes_its_outdated_predecessor_along() -> None:
    lru: LRU[int] = LRU(10, 2 * charge("k", 100))
    lru.put("k", 1, 100)
    assert not lru.put("k", 2, 1000)
    assert (len(lru), lru.bytes) == (0, 0)


def test_a_long_key_counts() -> None:
    lru: LRU[int] = LRU(10, 2000)
    assert not lru.put("k" * 2000, 1, 0)
    assert not lru.put("\N{SNOWMAN}" * 1000, 1, 0)


def test_pop_gives_the_value_and_its_bytes_back() -> None:
    lru: LRU[int] = LRU(10, 10_000)
    lru.put("k", 1, 100)
    assert lru.pop("k") == 1
    assert (len(lru), lru.bytes) == (0, 0)


def test_clear_says_how_many_went_and_counts_no_eviction() -> None:
    lru: LRU[int] = LRU(10, 10_000)
    lru.put("a", 1, 100)
    lru.put("b", 1, 100)
    assert lru.clear() == 2
    assert (lru.keys(), lru.bytes, sum(lru.evictions.values())) == ([], 0, 0)


def test_expire_removes_only_the_value_it_was_asked_about() -> None:
    lru: LRU[object] = LRU(10, 10_000)
    old, new = object(), object()
    lru.put("k", new, 1)
    assert not lru.expire("k", old)
    assert lru.expire("k", new)
    assert not lru.expire("k", new)
    assert (len(lru), lru.bytes, lru.evictions["expired"]) == (0, 0, 1)


def test_each_eviction_is_reported_with_its_reason() -> None:
    reasons: list[Reason] = []
    lru: LRU[int] = LRU(2, 2 * charge("a", 100), reasons.append)
    for key in "abc":
        lru.put(key, 1, 100)
    lru.put("d", 1, 150)
    lru.expire("d", 1)
    assert reasons == ["entries", "entries", "bytes", "expired"]


def test_the_bounds_hold_whenever_an_eviction_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    lru: LRU[int] = LRU(3, 3 * charge("a", 100), lambda _: seen.append((len(lru), lru.bytes)))
    for number in range(50):
        lru.put(chr(97 + number % 7), number, number * 13 % 200)
    assert seen
    assert all(count <= lru.max_entries and size <= lru.max_bytes for count, size in seen)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-1, 5)])
def test_bounds_below_one_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LRU(*bounds)


def test_a_negative_size_is_refused() -> None:
    lru: LRU[int] = LRU(10, 10_000)
    with pytest.raises(ValueError, match="-1"):
        lru.put("k", 1, -1)


def test_one_thread_can_hold_the_lock_over_several_calls() -> None:
    lru: LRU[int] = LRU(10, 10_000)
    with lru.lock:
        lru.put("k", 1, 1)
        other = threading.Thread(target=lru.clear)
        other.start()
        other.join(0.05)
        assert other.is_alive()
        assert lru.get("k") == 1
    other.join(5)
    assert "k" not in lru


@pytest.mark.parametrize("entries", [700, 3000, 5500])
def test_the_bookkeeping_constant_is_about_what_an_entry_takes(entries: int) -> None:
    keys = [f"some/key/{number}" for number in range(6 * entries)]
    value = b"shared, so that only the bookkeeping is measured"
    gc.collect()
    tracemalloc.start()
    try:
        lru: LRU[bytes] = LRU(entries, 2**40)
        for key in keys:
            lru.put(key, value, 0)
        measured = tracemalloc.get_traced_memory()[0] / entries
    finally:
        tracemalloc.stop()
    assert 0.5 * SLOT_BYTES <= measured <= 1.1 * SLOT_BYTES


def test_threads_leave_exact_counts_and_whole_bounds() -> None:
    lru: LRU[int] = LRU(50, 40 * charge("key-00", 100))
    start = threading.Barrier(8)
    broken: list[str] = []

    def hammer(seed: int) -> None:
        start.wait(5)
        for step in range(3000):
            key = f"key-{(seed * 31 + step * 7) % 80:02}"
            lru.put(key, step, step % 200)
            lru.get(key)
            if step % 11 == 0:
                lru.pop(key)
            if len(lru) > lru.max_entries or lru.bytes > lru.max_bytes:
                broken.append(key)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not broken
    for key in lru.keys():  # noqa: SIM118 - an LRU is no dict
        lru.pop(key)
    assert (len(lru), lru.bytes) == (0, 0)
