"""What holds over all workers of a server: one store, one fetch a key, one purge, one limit."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, hold, respond, sequence
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.raw_http import RawResponse

FOREVER = {"Cache-Control": "max-age=3600"}


@pytest.fixture(params=[2, 4])
def workers(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.fixture
def served(origin: ScriptedOrigin, workers: int) -> Iterator[Served]:
    environ = {
        "WEB_CONCURRENCY": str(workers),
        # A soft purge makes stale: nothing stale may be sent.
        "CACHE_STALE_TTL": "0s",
        "ACCESS_LOG": "off",
    }
    with Served(origin.environ() | environ) as running:
        yield running


def ask(served: Served, path: str) -> RawResponse:
    """GET on a connection of its own, so that any worker may get it."""
    with RawConnection("127.0.0.1", served.port, timeout=10.0) as connection:
        connection.get(path)
        return connection.read_response()


def ask_all(served: Served, paths: Sequence[str]) -> list[RawResponse]:
    """One GET for each path, all at once, each on a connection of its own."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(lambda path: ask(served, path), paths))


def ask_until_all_workers_have_answered(served: Served, path: str, workers: int) -> None:
    """Ask for a stored object until each worker has answered for it from memory."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert {reply.status for reply in ask_all(served, [path] * 16)} == {200}
        rows = served.admin("GET", "/cache/stats").json()["workers"]
        if sum(row["requests"]["hit"] > 0 for row in rows) == workers:
            return
    raise AssertionError(f"not every worker answered: {rows}")


def test_a_cold_key_asked_through_all_workers_at_once_costs_one_origin_request(
    served: Served, origin: ScriptedOrigin
) -> None:
    gate = origin.gate()
    origin.on("cold", hold(gate), respond(200, b"x" * 100_000, FOREVER))
    with ThreadPoolExecutor(40) as pool:
        replies = [pool.submit(ask, served, "/cold") for _ in range(40)]
        origin.wait_for(1, "cold")
        gate.open()
        bodies = [reply.result(timeout=20).body for reply in replies]
    assert set(bodies) == {b"x" * 100_000}
    assert origin.count("cold") == 1


def test_what_one_worker_stored_all_workers_serve(
    served: Served, origin: ScriptedOrigin, workers: int
) -> None:
    origin.on("a", respond(200, b"once", FOREVER))
    assert ask(served, "/a").body == b"once"
    ask_until_all_workers_have_answered(served, "/a", workers)
    assert origin.count("a") == 1
    totals = served.admin("GET", "/cache/stats").json()["total"]
    assert totals["entries"] == 1


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_that_is_acknowledged_holds_in_every_worker(
    served: Served, origin: ScriptedOrigin, workers: int, soft: bool
) -> None:
    origin.on("page", respond(200, b"version 0", FOREVER | {"ETag": '"0"'}))
    ask(served, "/page")
    ask_until_all_workers_have_answered(served, "/page", workers)
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            ask(served, "/page")

    with ThreadPoolExecutor(4) as pool:
        try:
            loads = [pool.submit(load) for _ in range(4)]
            for version in range(1, 11):
                body = b"version %d" % version
                origin.on("page", respond(200, body, FOREVER | {"ETag": f'"{version}"'}))
                purged = served.admin("POST", "/cache/purge", json={"keys": ["page"], "soft": soft})
                assert purged.status_code == 200
                assert {reply.body for reply in ask_all(served, ["/page"] * 12)} == {body}
        finally:
            stop.set()
        for done in loads:
            done.result(timeout=10)


def test_a_fetch_in_flight_in_another_worker_does_not_outlive_a_purge(
    served: Served, origin: ScriptedOrigin
) -> None:
    for turn in range(8):
        key = f"page{turn}"
        gate = origin.gate()
        old, new = respond(200, b"old", FOREVER), respond(200, b"new", FOREVER)
        origin.on(key, sequence((hold(gate), old), new))
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(ask, served, f"/{key}")
            origin.wait_for(1, key)
            served.admin("POST", "/cache/purge", json={"keys": [key]})
            assert {reply.body for reply in ask_all(served, [f"/{key}"] * 8)} == {b"new"}
            gate.open()
            assert early.result(timeout=10).body == b"old"
        assert {reply.body for reply in ask_all(served, [f"/{key}"] * 8)} == {b"new"}


def test_the_rate_limit_holds_over_all_workers(origin: ScriptedOrigin, workers: int) -> None:
    origin.default(respond(200, b"x", FOREVER))
    environ = {"WEB_CONCURRENCY": str(workers), "RATE_LIMIT_RPS": "0.2", "ACCESS_LOG": "off"}
    with Served(origin.environ() | environ) as served:
        statuses = [reply.status for reply in ask_all(served, ["/a"] * 60)]
    # One in a window of five seconds; the burst may meet the beginning of the next.
    assert 1 <= statuses.count(200) <= 2
    assert set(statuses) == {200, 429}


def test_bounds_are_those_of_the_server(origin: ScriptedOrigin, workers: int) -> None:
    origin.default(respond(200, b"x" * 20_000, FOREVER))
    environ = {
        "WEB_CONCURRENCY": str(workers),
        "CACHE_CAPACITY": "50",
        "CACHE_MAX_BYTES": "10MiB",
        "MAX_OBJECT_SIZE": "1MiB",
        "ACCESS_LOG": "off",
    }
    with Served(origin.environ() | environ) as served:
        for first in range(0, 200, 20):
            ask_all(served, [f"/k{number}" for number in range(first, first + 20)])
        totals = served.admin("GET", "/cache/stats").json()["total"]
        assert totals["entries"] == 50
        assert totals["bytes"] <= 10 * 2**20
        assert totals["evictions"]["entries"] == 150
        # The last ones are there, whichever worker is asked, and the first ones are not.
        asked = origin.count()
        ask_all(served, [f"/k{number}" for number in range(160, 200)])
        assert origin.count() == asked
