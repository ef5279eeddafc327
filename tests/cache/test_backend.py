"""Django's cache contract, through the sync methods and their async twins."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache.backends.base import InvalidCacheKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.cache.backend import MemoryCache
    from tests.cache.conftest import Clock, Door

VALUES = [
    b"",
    b"body",
    "text \N{SNOWMAN}",
    0,
    -7,
    1.5,
    1j,
    False,
    None,
    ["a", {"b": (1, 2)}],
    Decimal("1.10"),
    {1, 2},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_what_is_set_is_got(door: Door, value: object) -> None:
    await door.set("k", value)
    got = await door.get("k", "default")
    assert (got, type(got)) == (value, type(value))


async def test_an_unknown_key_gives_the_default(door: Door) -> None:
    assert await door.get("k") is None
    assert await door.get("k", "default") == "default"


async def test_setting_replaces_value_and_timeout(door: Door, clock: Clock) -> None:
    await door.set("k", "old", 1)
    await door.set("k", "new", 100)
    clock.now += 50
    assert await door.get("k") == "new"


async def test_add_stores_only_where_nothing_is(door: Door) -> None:
    assert await door.add("k", "first") is True
    assert await door.add("k", "second") is False
    assert await door.get("k") == "first"


async def test_a_stored_none_is_there(door: Door) -> None:
    await door.set("k", None)
    assert await door.has_key("k") is True
    assert await door.add("k", 1) is False
    assert await door.get_or_set("k", 1) is None


async def test_delete_says_whether_there_was_something(door: Door) -> None:
    await door.set("k", 1)
    assert await door.delete("k") is True
    assert await door.delete("k") is False
    assert await door.get("k") is None


async def test_has_key(door: Door, clock: Clock) -> None:
    assert await door.has_key("k") is False
    await door.set("k", 1, 10)
    assert await door.has_key("k") is True
    clock.now += 10
    assert await door.has_key("k") is False


def test_the_in_operator(cache: MemoryCache) -> None:
    cache.set("k", 1)
    assert "k" in cache
    assert "other" not in cache


async def test_many(door: Door) -> None:
    assert await door.set_many({"a": 1, "b": None, "c": 3}) == []
    assert await door.get_many(["a", "b", "x"]) == {"a": 1, "b": None}
    await door.delete_many(["a", "x"])
    assert await door.get_many(iter("abc")) == {"b": None, "c": 3}


async def test_many_with_timeout_and_version(door: Door, clock: Clock) -> None:
    await door.set_many({"a": 1}, 10, version=2)
    assert await door.get_many(["a"]) == {}
    assert await door.get_many(["a"], version=2) == {"a": 1}
    clock.now += 10
    assert await door.get_many(["a"], version=2) == {}


async def test_incr_and_decr_give_the_new_value(door: Door) -> None:
    await door.set("k", 41)
    assert await door.incr("k") == 42
    assert await door.incr("k", 8) == 50
    assert await door.decr("k") == 49
    assert await door.decr("k", 9) == 40
    assert await door.incr("k", -1) == 39
    assert await door.get("k") == 39


@pytest.mark.parametrize("name", ["incr", "decr", "incr_version", "decr_version"])
async def test_counting_on_an_unknown_key_is_a_value_error(door: Door, name: str) -> None:
    with pytest.raises(ValueError, match="'k' not found"):
        await getattr(door, name)("k")


async def test_incr_keeps_the_timeout(door: Door, clock: Clock) -> None:
    await door.set("k", 1, 10)
    clock.now += 9
    await door.incr("k")
    clock.now += 1
    assert await door.get("k") is None


async def test_incr_of_a_pickled_number(door: Door) -> None:
    await door.set("k", Decimal("1.5"))
    assert await door.incr("k") == Decimal("2.5")
    assert await door.get("k") == Decimal("2.5")


async def test_incr_of_a_text_leaves_it(door: Door) -> None:
    await door.set("k", "text")
    with pytest.raises(TypeError):
        await door.incr("k")
    assert await door.get("k") == "text"


async def test_incr_counts_as_use(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache("small", MAX_ENTRIES=2)
    cache.set("a", 1)
    cache.set("b", 1)
    cache.incr("a")
    cache.set("c", 1)
    assert cache.keys() == ["a", "c"]


async def test_versions_are_apart(door: Door) -> None:
    await door.set("k", 1)
    await door.set("k", 2, version=2)
    assert await door.get("k") == 1
    assert await door.get("k", version=2) == 2
    assert await door.has_key("k", version=3) is False
    assert await door.touch("k", 5, version=3) is False
    assert await door.incr("k", version=2) == 3
    assert await door.delete("k", version=2) is True
    assert await door.get("k") == 1


async def test_a_value_moves_to_another_version(door: Door, clock: Clock) -> None:
    await door.set("k", "value", 10)
    assert await door.incr_version("k") == 2
    assert await door.get("k") is None
    assert await door.get("k", version=2) == "value"
    assert await door.decr_version("k", 2, version=2) == 0
    assert await door.get("k", version=0) == "value"
    clock.now += 10
    assert await door.get("k", version=0) is None


async def test_moving_by_no_version_keeps_the_value(door: Door) -> None:
    await door.set("k", "value")
    assert await door.incr_version("k", 0) == 1
    assert await door.get("k") == "value"


async def test_get_or_set_takes_a_value_or_a_callable(door: Door) -> None:
    assert await door.get_or_set("a", "value") == "value"
    assert await door.get_or_set("a", "other") == "value"
    assert await door.get_or_set("b", lambda: "made") == "made"
    assert await door.get("b") == "made"


async def test_get_or_set_does_not_call_for_what_is_there(door: Door) -> None:
    await door.set("k", "value")
    assert await door.get_or_set("k", lambda: pytest.fail("called")) == "value"


async def test_get_or_set_gives_a_value_that_cannot_be_kept(door: Door) -> None:
    assert await door.get_or_set("k", "value", 0) == "value"
    assert await door.get("k") is None


async def test_get_or_set_gives_what_another_added_meanwhile(door: Door) -> None:
    cache = door._cache

    def slow() -> str:
        cache.set("k", "theirs")
        return "mine"

    assert await door.get_or_set("k", slow) == "theirs"


async def test_async_get_or_set_awaits_an_async_callable(cache: MemoryCache) -> None:
    async def make() -> str:
        return "made"

    assert await cache.aget_or_set("k", make) == "made"
    assert cache.get("k") == "made"


async def test_clear_empties_every_version(door: Door, cache: MemoryCache) -> None:
    await door.set("k", 1)
    await door.set("k", 1, version=2)
    await door.clear()
    assert (cache.entries, cache.bytes) == (0, 0)


async def test_close_keeps_what_is_stored(door: Door) -> None:
    await door.set("k", 1)
    await door.close()
    assert await door.get("k") == 1


@pytest.mark.parametrize(
    "key",
    ["", "with space", "\x00\x1f\x7f", "\N{SNOWMAN}" * 341, "k" * 1024, "a//b/", "\udcff", "%s:1"],
    ids=ascii,
)
async def test_any_text_is_a_key(door: Door, cache: MemoryCache, key: str) -> None:
    await door.set(key, "value")
    assert await door.get(key) == "value"
    assert cache.keys() == [key]


def test_a_key_function_must_give_text(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache(params={"KEY_FUNCTION": lambda key, prefix, version: key.encode()})
    with pytest.raises(InvalidCacheKey, match="b'k'"):
        cache.set("k", 1)


async def test_later_changes_do_not_reach_what_is_stored(door: Door) -> None:
    value: list[Any] = [1]
    await door.set("k", value)
    value.append(2)
    (await door.get("k")).append(3)
    assert await door.get("k") == [1]


async def test_a_value_that_cannot_be_pickled_leaves_the_key_as_it_was(door: Door) -> None:
    await door.set("k", "old")
    with pytest.raises(Exception, match="pickle"):
        await door.set("k", lambda: None)
    with pytest.raises(Exception, match="pickle"):
        await door.add("new", lambda: None)
    assert await door.get("k") == "old"
    assert await door.has_key("new") is False
