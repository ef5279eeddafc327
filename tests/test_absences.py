"""Absences have a share of the store, beyond which they put out one another."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from proxy.absences import Absences
from proxy.cache.backend import MemoryCache
from proxy.cache.purge_log import PurgeLog
from proxy.core.freshness import Freshness
from proxy.store import Store
from tests.core.responses import NOW, stored_response
from tests.origins import respond, s3_error
from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from proxy.core.messages import StoredResponse
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve, Served

MOST = 3


@pytest.fixture
def store() -> Store:
    options = {"MAX_ENTRIES": 100, "MAX_BYTES": 2**22}
    cache = MemoryCache(f"test-{uuid.uuid4().hex}", {"OPTIONS": options})
    return Store(cache, PurgeLog(), Absences(MOST))


def absence(status: int = 404) -> StoredResponse:
    return stored_response(status=status, body=b"", length=0, freshness=Freshness(5.0))


def put(store: Store, *keys: str) -> None:
    for key in keys:
        assert store.put(key, absence(), NOW)


def held(store: Store) -> set[str]:
    return {key for key in "abcdefgh" if store.holds(key)}


def test_the_oldest_absence_goes_for_a_new_one(store: Store) -> None:
    put(store, "a", "b", "c", "d")
    assert held(store) == {"b", "c", "d"}


@pytest.mark.parametrize("status", [404, 410])
def test_absences_put_out_no_object(store: Store, status: int) -> None:
    store.put("a", stored_response(), NOW)
    for key in "bcdefgh":
        store.put(key, absence(status), NOW)
    assert held(store) == {"a", "f", "g", "h"}


def test_an_absence_stored_again_is_the_youngest(store: Store) -> None:
    put(store, "a", "b", "c", "a", "d")
    assert held(store) == {"a", "c", "d"}


def test_an_object_in_place_of_an_absence_is_none_to_be_put_out(store: Store) -> None:
    put(store, "a", "b")
    store.put("a", stored_response(), NOW)
    put(store, "c", "d", "e", "f")
    assert held(store) == {"a", "d", "e", "f"}


def test_what_another_process_stored_in_place_of_an_absence_stays(store: Store) -> None:
    put(store, "a", "b", "c")
    other = Store(store._cache, PurgeLog(), Absences(MOST))
    other.put("a", stored_response(), NOW)
    put(store, "d")
    assert held(store) == {"a", "b", "c", "d"}


def test_without_a_bound_absences_are_as_other_responses(store: Store) -> None:
    unbounded = Store(store._cache, PurgeLog())
    put(unbounded, *"abcdefgh")
    assert held(store) == set("abcdefgh")


def flood(served: Served, number: int) -> None:
    with RawConnection("127.0.0.1", served.port) as client:
        for each in range(100):
            client.get(f"/made-up/{number}/{each}")
            assert client.read_response().status == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_a_flood_of_missing_keys_leaves_the_objects_in_memory(
    serve: Serve, origin: ScriptedOrigin, workers: int
) -> None:
    origin.default(s3_error(404, "NoSuchKey"))
    objects = [f"object{number}" for number in range(10)]
    for key in objects:
        origin.on(key, respond(200, b"here", {"Cache-Control": "max-age=600"}))
    served = serve(
        origin, workers=workers, CACHE_CAPACITY="64", CACHE_NEGATIVE_TTL="1h", ACCESS_LOG="off"
    )
    for key in objects:
        served.get(f"/{key}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(flood, served), range(4)))
    assert {served.get(f"/{key}").headers["x-cache"] for key in objects} == {"HIT"}
    total = served.admin("GET", "/cache/stats").json()["total"]
    assert total["entries"] <= len(objects) + 64 // 8
    assert total["evictions"]["entries"] == 0
    assert total["evictions"]["absences"] >= 400 - 64 // 8
    # The last ones are remembered as before.
    asked = len(origin.requests)
    assert served.get("/made-up/0/99").status_code == 404
    served.get("/made-up/0/99")
    assert len(origin.requests) <= asked + 1
