"""What is found without the lock: nothing but what the lock would have shown as well."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from proxy.cache.encoding import sketch_head
from proxy.cache.values import content_of
from tests.core.responses import stored_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cache.backend import MemoryCache
    from tests.cache.conftest import Clock

RESPONSE = stored_response()


@pytest.fixture
def locked(cache: MemoryCache) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Calls something while another thread has the lock; raises TimeoutError if it waits for it."""
    taken, enough = Event(), Event()

    def hold() -> None:
        with cache._shared.memory:
            taken.set()
            enough.wait(20)

    def while_locked(call: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(2) as pool:
            pool.submit(hold)
            assert taken.wait(5)
            try:
                return pool.submit(call).result(timeout=5)
            finally:
                enough.set()

    yield while_locked
    enough.set()


def test_a_response_is_found_while_another_has_the_lock(
    cache: MemoryCache, locked: Callable[[Callable[[], Any]], Any]
) -> None:
    cache.set("k", RESPONSE, None)
    cache._local.clear()
    assert locked(lambda: cache.lookup("k")).value == RESPONSE


def test_it_is_sketched_while_another_has_the_lock(
    cache: MemoryCache, locked: Callable[[Callable[[], Any]], Any]
) -> None:
    cache.set("k", RESPONSE, None)
    expected = sketch_head(content_of(RESPONSE).head), RESPONSE.body
    assert locked(lambda: cache.sketch("k", 100)) == expected


@pytest.mark.parametrize("value", [b"bytes", "pickled", pickle.dumps(RESPONSE)])
def test_what_is_no_response_is_not_sketched(cache: MemoryCache, value: Any) -> None:
    cache.set("k", value, None)
    assert cache.sketch("k", 10_000) is None
    assert cache.get("k") == value


@pytest.mark.parametrize(("below", "is_found"), [(10, False), (11, True)])
def test_a_body_is_bounded(cache: MemoryCache, below: int, is_found: bool) -> None:
    cache.set("k", RESPONSE, None)
    assert (cache.sketch("k", below) is not None) == is_found


def test_a_head_alone_is_not_sketched(cache: MemoryCache) -> None:
    cache.set("k", stored_response(body=None), None)
    assert cache.sketch("k", 2**63) is None
    assert cache.get("k").body is None


def test_what_was_marked_stale_has_to_be_looked_up(cache: MemoryCache) -> None:
    cache.set("k", RESPONSE, None)
    cache.mark_stale("k", 5.0)
    assert cache.sketch("k", 100) is None
    assert cache.get_stale("k").freshness != RESPONSE.freshness


def test_what_was_removed_is_not_found(cache: MemoryCache) -> None:
    cache.set("k", RESPONSE, None)
    cache.remove("k")
    assert cache.sketch("k", 100) is None


def test_what_has_expired_is_not_found(cache: MemoryCache, clock: Clock) -> None:
    cache.put("k", RESPONSE, 10, stale=5)
    clock.now += 14.9
    assert cache.sketch("k", 100) is not None
    clock.now += 0.1
    assert cache.sketch("k", 100) is None
    assert cache.lookup("k") is None


def test_what_is_being_changed_is_not_trusted(cache: MemoryCache) -> None:
    found = cache.put("k", RESPONSE, None)
    assert found is not None
    cache._shared._slots.lapse(found.slot)
    assert cache.sketch("k", 100) is None
    assert not cache.use(found.slot, found.version)


def test_a_sketch_counts_as_a_use(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache("two", MAX_ENTRIES=2)
    cache.set("used", RESPONSE, None)
    cache.set("unused", RESPONSE, None)
    assert cache.sketch("used", 100) is not None
    cache.set("new", RESPONSE, None)
    assert sorted(cache.keys()) == ["new", "used"]


def test_of_keys_with_one_hash_each_has_its_own(cache: MemoryCache) -> None:
    """The second is passed on the way, or found under the lock."""
    for name in ("a", "b"):
        cache.set(name, stored_response(etag=f'"{name}"'), None)
    cache._local.clear()
    held = cache._shared._held
    encoded = held.encoded
    held.encoded = lambda key: (encoded(key)[0], 1)  # type: ignore[method-assign]
    for name in ("a", "b"):
        cache.set(name, stored_response(etag=f'"same {name}"'), None)
    cache._local.clear()
    assert [cache.get(name).etag for name in ("a", "b")] == ['"same a"', '"same b"']
    assert cache.sketch("a", 100) is not None
