"""Bodies in pages of their own are lent to whoever reads them without a copy."""

from __future__ import annotations

import fcntl
import itertools
import math
import mmap
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.cache.layout import Plan
from proxy.cache.shared_store import Content, Lifetime, Placed, SharedStore
from tests.cache.audit import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cache.blocks import Piece

FOR_EVER = Lifetime(math.inf, math.inf, math.inf)
KIB = 1024


@pytest.fixture
def store() -> SharedStore:
    return SharedStore("lending", Plan.of(1000, 4 * 2**20, 1))


def put(store: SharedStore, key: str, body: bytes) -> Placed:
    placed = store.put(key, Content(1, b"head", body), FOR_EVER)
    assert placed is not None
    return placed


def lent(placed: Placed) -> tuple[Piece, ...]:
    assert placed.body_place is not None
    assert placed.body_place.is_lent
    return placed.body_place.pieces


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 512 * KIB)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("size", [16 * KIB, 16 * KIB + 1, 20_000, 65_536, 256 * KIB - 1])
def test_a_body_comes_through_a_pipe(store: SharedStore, size: int) -> None:
    body = random.Random(size).randbytes(size)
    placed = put(store, "k", body)
    with pipe() as (reader, writer):
        assert store.splice(placed.slot, placed.version, lent(placed), writer)
        assert os.read(reader, 2 * size) == body


@pytest.mark.parametrize("size", [0, 1, 16 * KIB - 1, 256 * KIB])
def test_others_are_not_lent(store: SharedStore, size: int) -> None:
    place = put(store, "k", bytes(size)).body_place
    assert place is None or not place.is_lent


@pytest.mark.parametrize("ending", ["removed", "replaced", "all removed", "damaged"])
def test_what_is_in_the_pipe_outlasts_what_was_stored(store: SharedStore, ending: str) -> None:
    placed = put(store, "k", b"a" * 100_000)
    with pipe() as (reader, writer):
        assert store.splice(placed.slot, placed.version, lent(placed), writer)
        if ending == "removed":
            store.remove("k")
        elif ending == "all removed":
            store.clear()
        elif ending == "damaged":
            with pytest.raises(KeyError), store.memory:
                raise KeyError
        for number in range(40):
            put(store, "k" if ending == "replaced" else f"{number}", b"b" * 100_000)
        assert os.read(reader, 200_000) == b"a" * 100_000
        assert not store.splice(placed.slot, placed.version, lent(placed), writer)
    audit(store)


@pytest.mark.parametrize("ending", ["removed", "replaced", "all removed", "damaged"])
@pytest.mark.parametrize("size", [100, 100_000])
def test_nothing_is_current_any_more_when_its_pages_go(
    store: SharedStore, size: int, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"a" * size
    placed = put(store, "k", body)
    assert placed.body_place is not None
    pieces, renew = placed.body_place.pieces, store.memory.renew
    read_meanwhile = [store.read(placed.slot, placed.version, pieces)]

    def read_and_renew(offset: int, count: int) -> None:
        renew(offset, count)
        # As another process may, which does not ask for the lock.
        read_meanwhile.append(store.read(placed.slot, placed.version, pieces))

    monkeypatch.setattr(store.memory, "renew", read_and_renew)
    if ending == "removed":
        store.remove("k")
    elif ending == "replaced":
        put(store, "k", b"b" * size)
    elif ending == "all removed":
        store.clear()
    else:
        with pytest.raises(KeyError), store.memory:
            raise KeyError
        # Whoever comes next makes it sound again.
        assert store.look("k", 0) is None
    assert read_meanwhile[0] == body
    assert set(read_meanwhile[1:]) <= {None}
    assert len(read_meanwhile) > 1 or (size == 100 and ending in {"removed", "replaced"})


def test_its_room_is_used_again_when_it_is_removed(store: SharedStore) -> None:
    placed = put(store, "k", b"a" * 100_000)
    for number in itertools.count():
        again = put(store, "k", b"%05d" % number * 20_000)
        if again.body_place == placed.body_place:
            break
        assert number < 100
    store.remove("k")


def test_in_a_full_store_large_bodies_still_have_pages() -> None:
    store = SharedStore("full", Plan.of(10_000, 16 * 2**20, 1))
    chance = random.Random(1)
    sizes = [1 * KIB] * 4 + [6 * KIB] * 3 + [24 * KIB] * 2 + [96 * KIB]
    bodies = {size: bytes(size) for size in sizes}
    placed: dict[int, Placed] = {}
    weights = list(itertools.accumulate(1 / rank for rank in range(1, 5001)))
    for key in chance.choices(range(5000), cum_weights=weights, k=15_000):
        if store.get(str(key), 0) is None:
            placed[key] = put(store, str(key), bodies[sizes[key % 10]])
    large = [
        place
        for key, place in placed.items()
        if sizes[key % 10] >= 24 * KIB and store.is_current(place.slot, place.version)
    ]
    assert len(large) > 50
    without = [each for each in large if each.body_place is None or not each.body_place.is_lent]
    assert len(without) <= len(large) // 50
    assert store.taken >= 0.85 * store.plan.bytes_of(store.entries, store.plan.blocks)
    audit(store)


def test_where_pages_cannot_be_replaced_nothing_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_REMOVE")
    store = SharedStore("elsewhere", Plan.of(1000, 4 * 2**20, 1))
    body = bytes(range(256)) * 400
    placed = put(store, "k", body)
    assert placed.body_place is not None
    assert not placed.body_place.is_lent
    assert store.read(placed.slot, placed.version, placed.body_place.pieces) == body
    store.remove("k")
    audit(store)
