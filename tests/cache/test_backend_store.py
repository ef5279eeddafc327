"""One store per LOCATION: its options, sharing, sizes and totals."""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from django.core.exceptions import ImproperlyConfigured

from proxy.cache.backend import MemoryCache, forget_stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.conftest import Clock, Door


@dataclass(frozen=True)
class Response:
    """A value that says that it may be shared, and what it takes."""

    __cache_by_reference__: ClassVar[bool] = True
    body: bytes

    @property
    def __cache_size__(self) -> int:
        return len(self.body)


class Later(Response):
    """Inherits that it may be shared."""


class Opaque:
    __cache_by_reference__ = True


@pytest.mark.parametrize("value", [b"body" * 9, "text" * 9, Response(b"x"), Later(b"x"), Opaque()])
async def test_immutable_values_are_kept_by_reference(door: Door, value: object) -> None:
    await door.set("k", value, stale=None)
    assert await door.get("k") is value
    assert await door.get_stale("k") is value


def test_an_entry_counts_the_size_that_its_value_says(cache: MemoryCache) -> None:
    cache.set("k", b"")
    empty = cache.bytes
    cache.set("k", b"x" * 1000)
    assert cache.bytes == empty + 1000
    cache.set("k", Response(b"x" * 500))
    assert cache.bytes == empty + 500


def test_text_counts_what_it_takes_in_memory(cache: MemoryCache) -> None:
    cache.set("k", "\N{SNOWMAN}" * 1000)
    assert cache.bytes > 2000


def test_a_pickle_counts_its_length(cache: MemoryCache) -> None:
    cache.set("k", [b"x" * 1000])
    assert 1000 < cache.bytes < 2000


@pytest.mark.parametrize("size", [-1, 1.5, "9", True])
def test_a_wrong_cache_size_is_refused(cache: MemoryCache, size: object) -> None:
    class Wrong:
        __cache_by_reference__ = True
        __cache_size__ = size

    with pytest.raises(ValueError, match="__cache_size__"):
        cache.set("k", Wrong())
    assert cache.entries == 0


@pytest.mark.parametrize("entries", [700, 3000, 5500])
def test_the_bytes_counted_are_about_the_bytes_taken(
    new_cache: Callable[..., MemoryCache], entries: int
) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        cache = new_cache("measured", MAX_ENTRIES=entries, MAX_BYTES=2**40)
        for number in range(3 * entries):
            cache.set(f"some/key/{number}", bytes(500 + number % 100), 60 + number, stale=number)
        measured = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.85 * cache.bytes <= measured <= 1.05 * cache.bytes


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
    cache.set("c", b"x" * 4300)
    assert (cache.keys(), cache.evictions) == (["c"], {"entries": 1, "bytes": 1, "expired": 0})
    assert 4300 < cache.bytes <= 5000


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
