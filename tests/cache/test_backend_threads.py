"""Many threads at once, and none at all for the async methods."""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING

import asgiref.sync
import django.core.cache.backends.base
import pytest

from proxy.cache.backend import MemoryCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 8


@pytest.fixture
def _eager_switching() -> Iterator[None]:
    """Let threads take turns so often that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None]) -> None:
    """Run ``work`` with the numbers of 8 threads that start at one moment."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(5)
            work(number)
        except BaseException as failure:  # noqa: BLE001 - reported below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures("_eager_switching")
def test_no_increment_is_lost(cache: MemoryCache) -> None:
    cache.set("k", 0)

    def work(_: int) -> None:
        for _step in range(1000):
            cache.incr("k")

    together(work)
    assert cache.get("k") == THREADS * 1000


@pytest.mark.usefixtures("_eager_switching")
def test_one_adder_wins_each_key(cache: MemoryCache) -> None:
    won: list[int] = []

    def work(_: int) -> None:
        won.extend(key for key in range(500) if cache.add(key, 1))

    together(work)
    assert sorted(won) == list(range(500))


@pytest.mark.usefixtures("_eager_switching")
def test_the_bounds_hold_in_every_thread(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache("small", MAX_ENTRIES=40, MAX_BYTES=40_000)

    def work(number: int) -> None:
        for step in range(500):
            key = f"k{(number * 31 + step * 7) % 97}"
            cache.set(key, bytes((number * 13 + step) % 1500), step % 3, stale=step % 2)
            assert cache.entries <= 40
            assert cache.bytes <= 40_000
            cache.get_stale(key)
            cache.touch(key, 5)
            if step % 17 == 0:
                cache.delete(key)

    together(work)
    cache.delete_many(cache.keys())
    assert (cache.entries, cache.bytes) == (0, 0)


@pytest.mark.usefixtures("_eager_switching")
def test_threads_that_open_a_location_at_once_get_one_store() -> None:
    def work(number: int) -> None:
        for location in range(300):
            MemoryCache(f"raced-{location}", {}).set(number, 1)

    together(work)
    totals = {MemoryCache(f"raced-{location}", {}).entries for location in range(300)}
    assert totals == {THREADS}


def test_every_async_method_of_the_base_class_is_replaced() -> None:
    base = django.core.cache.backends.base.BaseCache
    twins = [name for name, method in vars(base).items() if inspect.iscoroutinefunction(method)]
    assert "aget" in twins
    assert [name for name in twins if name not in vars(MemoryCache)] == []


def test_async_twins_take_the_same_arguments() -> None:
    for name in vars(MemoryCache):
        if name.startswith("a") and inspect.iscoroutinefunction(getattr(MemoryCache, name)):
            sync = inspect.signature(getattr(MemoryCache, name[1:])).parameters
            twin = inspect.signature(getattr(MemoryCache, name)).parameters
            assert list(twin) == list(sync), name


async def test_async_methods_finish_without_another_thread(
    cache: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hop(*args: object, **kwargs: object) -> None:
        pytest.fail("a thread was asked for")

    monkeypatch.setattr(asgiref.sync, "sync_to_async", hop)
    monkeypatch.setattr(django.core.cache.backends.base, "sync_to_async", hop)
    seen: set[int] = set()

    def make() -> int:
        seen.add(threading.get_ident())
        return 1

    await cache.aget_or_set("k", make)
    await cache.aset("s", 1, 0, stale=5)
    await cache.aget_stale("s")
    await cache.aadd("k", 1)
    await cache.atouch("k")
    await cache.aincr("k")
    await cache.adecr("k")
    await cache.aset_many({"k": 1})
    await cache.aget_many(["k"])
    await cache.aincr_version("k")
    await cache.adecr_version("k", version=2)
    await cache.ahas_key("k")
    await cache.adelete("k")
    await cache.adelete_many(["k"])
    await cache.aclear()
    await cache.aclose()
    assert seen == {threading.get_ident()}


def test_async_methods_are_over_at_their_first_step(cache: MemoryCache) -> None:
    for steps in (cache.aset("k", 1), cache.aincr("k"), cache.aget("k"), cache.aget_stale("k")):
        with pytest.raises(StopIteration):
            steps.send(None)
