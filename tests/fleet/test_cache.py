"""The cache backends that replicas share, under Django's names."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING

import pytest

from proxy.fleet.cache import BytesSerializer, RedisCache
from proxy.fleet.clients import close_clients
from proxy.fleet.counters import SharedCounters
from proxy.fleet.service import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.origins.valkey_site import ValkeySite

VALUES = [b"", b"x", b"12", b"-3", b"=", b"=12", b"\x00\xff" * 100, 0, 12, -3]


@pytest.fixture(autouse=True)
def _fresh_guard() -> Iterator[None]:
    guard.cache_clear()
    yield
    guard.cache_clear()


@pytest.mark.parametrize("value", VALUES)
async def test_bytes_stay_bytes_and_numbers_numbers(valkey: ValkeySite, value: bytes | int) -> None:
    cache = RedisCache(valkey.url, {})
    await cache.aset("k", value)
    found = await cache.aget("k")
    assert (type(found), found) == (type(value), value)
    assert await asyncio.to_thread(cache.get, "k") == value
    await close_clients()


@pytest.mark.parametrize("value", ["text", 1.5, True, None, [b"x"], bytearray(b"x")])
def test_nothing_else_is_taken(value: object) -> None:
    with pytest.raises(TypeError):
        BytesSerializer().dumps(value)


async def test_a_pickle_is_bytes_and_nothing_more(valkey: ValkeySite) -> None:
    data = pickle.dumps({"harm": "less"})
    valkey.command("SET", ":1:k", data)
    assert await RedisCache(valkey.url, {}).aget("k") == data
    await close_clients()


async def test_the_async_methods_do_as_django_says(valkey: ValkeySite) -> None:
    cache = RedisCache(valkey.url, {})
    assert await cache.aget("k", b"default") == b"default"
    assert await cache.aadd("k", b"a", timeout=60)
    assert not await cache.aadd("k", b"b")
    assert await cache.aget_many(["k", "none"]) == {"k": b"a"}
    assert await cache.aget_many([]) == {}
    assert await cache.atouch("k", 30)
    assert 25 < valkey.command("TTL", ":1:k") <= 30
    assert await cache.atouch("k", None)
    assert valkey.command("TTL", ":1:k") == -1
    assert not await cache.atouch("none", 30)
    assert await cache.ahas_key("k")
    assert await cache.adelete("k")
    assert not await cache.adelete("k")
    await cache.aset_many({"a": 1, "b": b"2"})
    assert await cache.aincr("a", 4) == 5
    assert await cache.adecr("a") == 4
    await cache.adelete_many(["a", "b"])
    with pytest.raises(ValueError, match="not found"):
        await cache.aincr("a")
    assert valkey.command("EXISTS", ":1:a") == 0, "a counter without end"
    await cache.aset("k", b"x", timeout=0)
    assert not await cache.ahas_key("k")
    await close_clients()


async def test_two_processes_count_together(valkey: ValkeySite) -> None:
    one, other = (SharedCounters(valkey.url, {}) for _ in range(2))
    assert await asyncio.to_thread(one.add, "k", 1, 60)
    assert not await asyncio.to_thread(other.add, "k", 1, 60)
    assert await asyncio.to_thread(other.incr, "k") == 2


def test_without_redis_it_counts_here(own_valkey: ValkeySite, settings: object) -> None:
    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {"BACKEND": "proxy.cache.backend.MemoryCache", "LOCATION": "t-default"},
        "here": {"BACKEND": "proxy.cache.backend.MemoryCache", "LOCATION": "t-here"},
    }
    counters = SharedCounters(own_valkey.url, {"OPTIONS": {"LOCAL": "here"}})
    assert counters.add("k", 1, 60)
    own_valkey.kill()
    assert [counters.incr("k") for _ in range(3)] == [1, 2, 3]


async def test_on_an_event_loop_it_never_asks_redis(
    own_valkey: ValkeySite, settings: object
) -> None:
    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {"BACKEND": "proxy.cache.backend.MemoryCache", "LOCATION": "t-default"},
        "here": {"BACKEND": "proxy.cache.backend.MemoryCache", "LOCATION": "t-loop"},
    }
    counters = SharedCounters(own_valkey.url, {"OPTIONS": {"LOCAL": "here"}})
    assert counters.add("k", 1, 60)
    assert own_valkey.command("EXISTS", ":1:k") == 0
