"""One store per LOCATION: its options, sharing, sizes and totals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from proxy.cache.backend import MemoryCache, forget_stores
from proxy.cache.block_map import BLOCK
from proxy.cache.layout import Plan
from tests.core.responses import stored_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.conftest import Clock, Door


@pytest.mark.parametrize("value", [b"body" * 9, "text" * 9, stored_response()])
async def test_immutable_values_that_come_again_are_given_out_again_and_again(
    door: Door, value: object
) -> None:
    await door.set("k", value, stale=None)
    again = await door.get("k")
    assert again == value
    assert await door.get("k") is again
    assert await door.get_stale("k") is again


async def test_what_comes_once_is_not_held_in_the_process(cache: MemoryCache) -> None:
    for number in range(100):
        cache.set(f"{number}", stored_response(body=b"small"))
        cache.set("large", stored_response(body=bytes(300_000)))
    assert list(cache._local._by_key) == [":1:large"]
    cache.get("7")
    assert list(cache._local._by_key) == [":1:large", ":1:7"]


def test_an_entry_counts_the_blocks_that_it_takes(cache: MemoryCache) -> None:
    cache.set("k", b"")
    empty = cache.bytes
    assert 128 <= empty <= 512
    cache.set("k", b"x" * 100_000)
    # In whole pages of 4 KiB, each of 32 blocks of 129 bytes with their marks.
    assert cache.bytes - empty == 25 * 32 * 129
    cache.set("k", stored_response(body=b"x" * 50_000))
    assert 13 * 32 * 129 <= cache.bytes - empty <= 13 * 32 * 129 + 512
    cache.delete("k")
    assert cache.bytes == 0


def test_the_memory_taken_is_within_the_bound_tables_included() -> None:
    for entries in (1, 10, 2048, 10**6):
        for size in (2**16, 2**20, 2**26, 2**29 + 1):
            for processes in (1, 9):
                plan = Plan.of(entries, size, processes)
                assert plan.size + plan.local_bytes * processes <= size
                assert 1 <= plan.entries <= entries
                assert plan.bytes_of(plan.entries, plan.blocks) <= size
                assert plan.blocks * BLOCK >= size // 3


async def test_a_value_larger_than_the_cache_is_not_stored(
    new_cache: Callable[..., MemoryCache],
) -> None:
    cache = new_cache("small", MAX_BYTES=2000)
    cache.set("k", "old")
    cache.set("k", b"x" * 2000)
    assert cache.get("k") is None
    assert cache.add("k", b"x" * 2000) is False
    assert cache.set_many({"a": 1, "big": b"x" * 2000}) == ["big"]
    assert await cache.aset_many({"a": 1, "big": b"x" * 2000}) == ["big"]


def test_totals_and_evictions(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache("small", MAX_ENTRIES=2, MAX_BYTES=5000)
    for key in "abc":
        cache.set(key, b"")
    assert (cache.entries, cache.evictions) == (2, {"entries": 1, "bytes": 0, "expired": 0})
    cache.set("c", b"x" * 3600)
    assert (cache.keys(), cache.evictions) == (["c"], {"entries": 1, "bytes": 1, "expired": 0})
    assert 3600 < cache.bytes <= 5000


def test_keys_are_those_of_this_prefix_and_version(
    new_cache: Callable[..., MemoryCache], clock: Clock
) -> None:
    mine = new_cache(params={"KEY_PREFIX": "mine"})
    other = new_cache(params={"KEY_PREFIX": "other"})
    mine.set("a", 1, 10)
    mine.set("stale", 1, 0, stale=10)
    mine.set("mine:1:odd", 1)
    mine.set("two", 1, version=2)
    other.set("b", 1)
    assert mine.keys() == ["a", "stale", "mine:1:odd"]
    assert mine.keys(version=2) == ["two"]
    assert other.keys() == ["b"]
    clock.now += 10
    assert mine.keys() == ["mine:1:odd"]


def test_keys_refuses_to_guess_behind_a_key_function(
    new_cache: Callable[..., MemoryCache],
) -> None:
    cache = new_cache(params={"KEY_FUNCTION": lambda key, prefix, version: key[::-1]})
    cache.set("key", 1)
    assert cache.get("key") == 1
    with pytest.raises(NotImplementedError, match="KEY_FUNCTION"):
        cache.keys()


def test_instances_of_one_location_share_a_store(new_cache: Callable[..., MemoryCache]) -> None:
    new_cache("one").set("k", 1)
    assert new_cache("one").get("k") == 1
    assert new_cache("two").get("k") is None


def test_timeout_and_window_may_differ_within_a_location(
    new_cache: Callable[..., MemoryCache],
) -> None:
    new_cache("one", {"TIMEOUT": 5}, STALE_TIMEOUT=1).set("k", 1)
    assert new_cache("one", {"TIMEOUT": None}, STALE_TIMEOUT=None).get("k") == 1


@pytest.mark.parametrize("options", [{"MAX_ENTRIES": 5}, {"MAX_BYTES": 999}, {"CLOCK": time.time}])
def test_a_location_cannot_be_reopened_with_other_bounds(
    new_cache: Callable[..., MemoryCache], options: dict[str, Any]
) -> None:
    new_cache("one")
    with pytest.raises(ImproperlyConfigured, match=r"'one' exists with .*LOCATION of its own"):
        new_cache("one", **options)


def test_a_forgotten_location_begins_anew(new_cache: Callable[..., MemoryCache]) -> None:
    old = new_cache("one")
    old.set("k", 1)
    forget_stores()
    new = new_cache("one", MAX_ENTRIES=5)
    assert (new.get("k"), old.get("k")) == (None, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"MAX_ENTRIES": 0}, "MAX_ENTRIES=0 should be a whole number above 0"),
        ({"MAX_ENTRIES": True}, "MAX_ENTRIES=True should be"),
        ({"MAX_ENTRIES": "300"}, "MAX_ENTRIES='300' should be"),
        ({"MAX_BYTES": -1}, "MAX_BYTES=-1 should be a whole number above 0"),
        ({"MAX_BYTES": 1.5}, "MAX_BYTES=1.5 should be"),
        ({"MAX_BYTES": None}, "MAX_BYTES=None should be"),
        ({"STALE_TIMEOUT": -1}, "STALE_TIMEOUT=-1 should be a number of seconds from 0 up, or"),
        ({"STALE_TIMEOUT": "5"}, "STALE_TIMEOUT='5' should be"),
        ({"STALE_TIMEOUT": float("nan")}, "STALE_TIMEOUT=nan should be"),
        ({"STALE_TIMEOUT": float("inf")}, "STALE_TIMEOUT=inf should be"),
        ({"STALE_TIMEOUT": False}, "STALE_TIMEOUT=False should be"),
        ({"CLOCK": 5}, "CLOCK=5 should be a callable"),
        ({"CLOCK": "no.such.clock"}, "CLOCK='no.such.clock' should be"),
        ({"CLOCK": "time"}, "CLOCK='time' should be"),
        ({"CULL_FREQUENCY": 3}, "'CULL_FREQUENCY' is no option, those are MAX_ENTRIES, MAX_BYTES"),
        ({"max_bytes": 5}, "'max_bytes' is no option"),
        (None, "should be a dict, not None"),
    ],
)
def test_bad_options_are_refused_with_what_would_be_right(options: object, said: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        MemoryCache("bad", {"OPTIONS": options})
    assert said in str(refusal.value)
    assert "'bad'" in str(refusal.value)


def test_all_bad_options_are_named_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"MAX_ENTRIES=0 .*; 'SIZE' is no option"):
        MemoryCache("bad", {"OPTIONS": {"MAX_ENTRIES": 0, "SIZE": 5}})


def test_a_refused_configuration_leaves_no_store(new_cache: Callable[..., MemoryCache]) -> None:
    with pytest.raises(ImproperlyConfigured):
        new_cache("one", MAX_ENTRIES=0)
    assert new_cache("one", MAX_ENTRIES=7).entries == 0


def test_a_clock_can_be_named_by_its_path() -> None:
    cache = MemoryCache("named", {"OPTIONS": {"CLOCK": "time.time"}})
    moment = cache.get_backend_timeout(0)
    assert moment is not None
    assert abs(moment - time.time()) < 5


def test_the_default_clock_moves() -> None:
    cache = MemoryCache("moves", {})
    cache.set("k", 1, 0.05, stale=None)
    deadline = time.monotonic() + 5
    while cache.get("k") == 1:
        assert time.monotonic() < deadline
    assert cache.get_stale("k") == 1
