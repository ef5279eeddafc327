"""What a store in shared memory gives out, and what it keeps for whom."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.cache.blocks import Piece
from proxy.cache.layout import Plan
from proxy.cache.shared_store import Content, Lifetime, SharedStore
from tests.cache.audit import audit
from tests.core.responses import stored_response

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from proxy.cache.backend import MemoryCache

LARGE = 400_000


def large(letter: bytes) -> Any:
    return stored_response(body=letter * LARGE, length=LARGE)


def test_a_large_body_is_given_out_uncopied_until_nobody_looks(cache: MemoryCache) -> None:
    cache.set("k", large(b"a"), None)
    body = cache.get("k").body
    assert isinstance(body, memoryview)
    assert body.readonly
    part = body[10:20]
    del body
    cache.set("k", large(b"b"), None)
    cache.remove("k")
    for number in range(5):
        cache.set(f"{number}", large(b"c"), None)
    assert part == b"a" * 10
    before = cache.bytes
    audit(cache._shared)
    del part
    audit(cache._shared)
    assert before - cache.bytes > LARGE


def test_a_small_body_is_read_where_it_lies_as_long_as_it_is_current(cache: MemoryCache) -> None:
    found = cache.put("k", stored_response(body=b"abcdef", length=6), None)
    assert found is not None
    assert found.body_place is not None
    (piece,) = pieces = found.body_place.pieces
    assert cache.read(found.slot, found.version, pieces) == b"abcdef"
    assert cache.read(found.slot, found.version, [Piece(piece.at + 2, 3)]) == b"cde"
    freshened = cache.put("k", replace(found.value, status=203), None)
    assert freshened is not None
    assert cache.read(found.slot, found.version, pieces) is None
    assert freshened.body_place == found.body_place
    assert cache.read(freshened.slot, freshened.version, pieces) == b"abcdef"
    cache.remove("k")
    assert cache.read(freshened.slot, freshened.version, pieces) is None


def test_a_large_or_absent_body_has_to_be_looked_up(cache: MemoryCache) -> None:
    for response in (large(b"a"), stored_response(body=b"", length=0), stored_response(body=None)):
        found = cache.put("k", response, None)
        assert found is not None
        assert found.body_place is None


def test_a_freshened_response_keeps_its_body_where_it_is(cache: MemoryCache) -> None:
    first = cache.put("k", large(b"a"), None)
    held = cache.get("k")
    second = cache.put("k", replace(held, status=203), None)
    assert first is not None
    assert second is not None
    assert second.slot == first.slot
    assert not cache.use(first.slot, first.version)
    assert cache.get("k").status == 203
    assert cache.get("k").body == b"a" * LARGE


def test_marking_as_stale_shows_in_the_response(cache: MemoryCache) -> None:
    response = stored_response()
    found = cache.put("k", response, None, None)
    assert found is not None
    assert cache.mark_stale("k", response.response_time + 10)
    assert not cache.use(found.slot, found.version)
    assert cache.get("k") is None
    assert cache.get_stale("k").freshness.lifetime == 10
    assert not cache.mark_stale("other", 0)


def test_what_matches_is_removed_in_steps(new_cache: Callable[..., MemoryCache]) -> None:
    cache = new_cache("walked", MAX_ENTRIES=6000)
    cache.set_many({f"{number}": number for number in range(5000)})
    turns: list[None] = []

    def walk() -> Generator[None, None, None]:
        removed.append((yield from cache.remove_matching(lambda key: key.endswith("7"))))

    removed: list[int] = []
    turns.extend(walk())
    assert (removed, len(turns)) == ([500], 3)
    assert cache.entries == 4500
    assert cache.get("7") is None
    assert cache.get("8") == 8


def test_an_error_of_a_callers_leaves_all_as_it_was(cache: MemoryCache) -> None:
    cache.set("k", 1)

    def fails(key: str) -> bool:
        raise KeyError(key)

    with pytest.raises(KeyError):
        next(cache.remove_matching(fails))
    assert cache.get("k") == 1


@pytest.mark.parametrize("processes", [1, 8])
def test_what_processes_hold_decoded_does_not_grow_with_the_store_for_ever(processes: int) -> None:
    of_much, of_little = Plan.of(10**6, 16 << 30, processes), Plan.of(10**6, 256 << 20, processes)
    assert of_much.local_bytes * processes == 64 << 20
    assert of_little.local_bytes * processes == 32 << 20


@pytest.mark.parametrize("entries", [1000, 100_000])
def test_bookkeeping_is_small(new_cache: Callable[..., MemoryCache], entries: int) -> None:
    cache = new_cache("many", MAX_ENTRIES=entries, MAX_BYTES=1000 * entries)
    for number in range(entries + 50):
        cache.set(f"{number}", b"x")
    assert cache.entries == entries
    assert cache.evictions["entries"] == 50
    assert (cache.get("49"), cache.get("50")) == (None, b"x")
    assert cache.bytes / entries < 400


def test_a_head_that_grows_in_a_full_store_never_evicts_itself_unnoticed() -> None:
    """Others may be used all the while, without the lock, and so be younger than it."""
    store = SharedStore("t", Plan.of(8, 16 * 1024, 2))
    for_ever = Lifetime(math.inf, math.inf, math.inf)
    half = (store.plan.blocks // 2 - 2) * 128
    freshened = store.put("freshened", Content(1, b"h" * 100, b"s" * half), for_ever)
    assert freshened is not None
    rest = (store._blocks.free - 1) * 128
    other = store.put("other", Content(1, b"h" * 100, b"t" * rest), for_ever)
    assert other is not None
    store.ticks[other.slot] = 2**63
    content = Content(1, b"h" * 400, b"s" * half)
    placed = store.put("freshened", content, for_ever, freshened.body_id)
    assert (placed is None) == (store.get("freshened", 0.0) is None)
    audit(store)


@pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1])
def test_room_of_what_was_removed_is_given_back_whatever_the_size(
    cache: MemoryCache, size: int
) -> None:
    empty = cache.bytes
    cache.set("k", stored_response(body=b"x" * size, length=size), None)
    for _ in range(2):
        assert len(cache.get("k").body) == size
    cache.delete("k")
    # With the next change, what nobody looks at any more is let go of.
    cache.set("other", 1, None)
    cache.delete("other")
    assert cache.bytes == empty
