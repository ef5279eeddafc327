"""Timeouts, the stale window behind them, and what is left of a value past both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.cache.backend import MemoryCache
    from tests.cache.conftest import Clock, Door


async def test_a_value_is_gone_when_its_timeout_is_reached(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 10)
    clock.now += 9.9
    assert await door.get("k") == 1
    clock.now += 0.1
    assert await door.get("k") is None


async def test_a_fraction_of_a_second_is_a_timeout(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 0.5)
    clock.now += 0.4
    assert await door.get("k") == 1
    clock.now += 0.2
    assert await door.get("k") is None


async def test_a_timeout_of_none_is_for_ever(door: Door, clock: Clock) -> None:
    await door.set("k", 1, None)
    clock.now += 1e9
    assert await door.get("k") == 1


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
async def test_a_value_without_a_lifetime_is_not_stored(
    door: Door, cache: MemoryCache, timeout: float
) -> None:
    await door.set("k", "old")
    await door.set("k", "new", timeout)
    assert await door.add("other", 1, timeout) is True
    assert await door.set_many({"third": 1}, timeout) == []
    assert (await door.get("k"), cache.entries) == (None, 0)


async def test_the_default_timeout_is_the_configured_one(
    new_cache: Callable[..., MemoryCache], clock: Clock
) -> None:
    short = new_cache("short", {"TIMEOUT": 10})
    for_ever = new_cache("for ever", {"TIMEOUT": None})
    django = new_cache("django")
    for cache in (short, for_ever, django):
        cache.set("k", 1)
    clock.now += 10
    assert [cache.has_key("k") for cache in (short, for_ever, django)] == [False, True, True]
    clock.now += 290
    assert [cache.has_key("k") for cache in (short, for_ever, django)] == [False, True, False]


def test_the_backend_timeout_is_a_moment_on_the_stores_clock(
    cache: MemoryCache, clock: Clock
) -> None:
    assert cache.get_backend_timeout() == clock.now + 300
    assert cache.get_backend_timeout(7) == clock.now + 7
    assert cache.get_backend_timeout(None) is None


async def test_touch_begins_the_timeout_anew(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 10)
    clock.now += 9
    assert await door.touch("k", 10) is True
    clock.now += 9
    assert await door.get("k") == 1
    assert await door.touch("k") is True
    clock.now += 299
    assert await door.get("k") == 1
    assert await door.touch("k", None) is True
    clock.now += 1e6
    assert await door.get("k") == 1
    assert await door.touch("k", 0) is True
    assert await door.get("k") is None
    assert await door.touch("k", 10) is False


async def test_past_its_timeout_only_get_stale_finds_a_value(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 10, stale=5)
    assert await door.get_stale("k") == 1
    clock.now += 10
    assert await door.get("k", "default") == "default"
    assert await door.has_key("k") is False
    assert await door.touch("k", 10) is False
    with pytest.raises(ValueError, match="not found"):
        await door.incr("k")
    with pytest.raises(ValueError, match="not found"):
        await door.incr_version("k")
    assert await door.get_many(["k"]) == {}
    assert await door.get_stale("k") == 1
    clock.now += 5
    assert await door.get_stale("k", "default") == "default"


async def test_get_stale_of_an_unknown_key_gives_the_default(door: Door) -> None:
    assert await door.get_stale("k") is None
    assert await door.get_stale("k", "default", version=2) == "default"


async def test_get_stale_respects_the_version(door: Door) -> None:
    await door.set("k", 2, 0, 2, stale=5)
    assert await door.get_stale("k") is None
    assert await door.get_stale("k", version=2) == 2


async def test_get_stale_gives_a_copy_of_what_can_change(door: Door) -> None:
    await door.set("k", [1], 0, stale=None)
    (await door.get_stale("k")).append(2)
    assert await door.get_stale("k") == [1]


async def test_a_stale_window_of_none_lasts_until_evicted(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 0, stale=None)
    assert await door.get("k") is None
    clock.now += 1e9
    assert await door.get_stale("k") == 1


@pytest.mark.parametrize("timeout", [0, -60])
async def test_without_a_timeout_the_stale_window_begins_now(
    door: Door, clock: Clock, timeout: float
) -> None:
    await door.set("k", 1, timeout, stale=5)
    clock.now += 4.9
    assert await door.get_stale("k") == 1
    clock.now += 0.1
    assert await door.get_stale("k") is None


async def test_add_replaces_a_stale_value(door: Door, clock: Clock) -> None:
    await door.set("k", "old", 1, stale=100)
    clock.now += 1
    assert await door.add("k", "new", 10) is True
    assert await door.get("k") == "new"


async def test_delete_removes_a_stale_value(door: Door) -> None:
    await door.set("k", 1, 0, stale=None)
    assert await door.delete("k") is True
    assert await door.get_stale("k") is None


async def test_touch_and_incr_keep_the_length_of_the_stale_window(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 10, stale=5)
    await door.incr("k")
    await door.touch("k", 20)
    clock.now += 24.9
    assert await door.get_stale("k") == 2
    clock.now += 0.1
    assert await door.get_stale("k") is None


async def test_touch_with_zero_makes_a_value_stale(door: Door) -> None:
    await door.set("k", 1, 10, stale=5)
    assert await door.touch("k", 0) is True
    assert (await door.get("k"), await door.get_stale("k")) == (None, 1)


@pytest.mark.parametrize(("configured", "last"), [(0, 0.0), (30, 29.9), (None, 1e9)])
async def test_stale_timeout_is_the_window_of_what_names_none(
    new_cache: Callable[..., MemoryCache], clock: Clock, configured: float | None, last: float
) -> None:
    cache = new_cache("windows", STALE_TIMEOUT=configured)
    cache.set("set", 1, 10)
    cache.add("add", 1, 10)
    cache.set_many({"many": 1}, 10)
    clock.now += 10 + last
    found = [cache.get_stale(key) for key in ("set", "add", "many")]
    assert found == ([1] * 3 if last else [None] * 3)


@pytest.mark.parametrize("stale", [-1, float("nan")])
async def test_a_stale_window_below_zero_is_refused(door: Door, stale: float) -> None:
    with pytest.raises(ValueError, match="stale must be"):
        await door.set("k", 1, stale=stale)
    assert await door.get("k") is None


@pytest.mark.parametrize("name", ["get", "get_stale", "has_key", "touch", "delete"])
async def test_a_value_past_both_windows_is_removed_when_met(
    door: Door, cache: MemoryCache, clock: Clock, name: str
) -> None:
    await door.set("k", 1, 10, stale=5)
    clock.now += 15
    assert cache.entries == 1
    assert not await getattr(door, name)("k")
    assert cache.entries == 0
    assert cache.evictions == {"entries": 0, "bytes": 0, "expired": 1}


async def test_a_stale_value_met_is_not_removed(door: Door, cache: MemoryCache) -> None:
    await door.set("k", 1, 0, stale=5)
    await door.get("k")
    assert cache.entries == 1
    assert cache.evictions["expired"] == 0
