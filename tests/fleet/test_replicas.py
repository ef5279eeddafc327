"""Three replicas of two workers each, with load on all of them, on a Valkey that fails."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from proxy.fleet.lease import LAPSE_SECONDS
from tests.admin_api.test_metrics import samples
from tests.fleet.crowd import Crowd, Floor, ask, forbidden, old_after_new
from tests.fleet.processes import ReplicaFleet, counted, eventually, floors, purge
from tests.origins import hold
from tests.raw_http import NoResponse, RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served.process import Served

pytestmark = pytest.mark.long

# What a purge takes to travel between replicas at the most, on a busy machine.
TRAVEL_SECONDS = 1.0

_numbers = itertools.count()


@pytest.fixture(scope="module")
def _lasting_fleet() -> Iterator[ReplicaFleet]:
    with ReplicaFleet() as running:
        yield running


@pytest.fixture
def fleet(_lasting_fleet: ReplicaFleet) -> ReplicaFleet:
    """Three replicas that are well; tests use keys of their own."""
    _lasting_fleet.settle()
    return _lasting_fleet


@pytest.fixture
def own_fleet() -> Iterator[ReplicaFleet]:
    """For a test that leaves Valkey resting, which later ones would not expect."""
    with ReplicaFleet() as running:
        yield running


@pytest.fixture
def keys() -> list[str]:
    """Keys that no other test uses."""
    return [f"page{next(_numbers)}" for _ in range(3)]


def test_a_cold_key_asked_through_all_replicas_at_once_is_one_get(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    gate = fleet.origin.gate()
    fleet.origin.on(keys[0], hold(gate), fleet.bucket.step)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(fleet.ask_all, keys[0], 8)
        fleet.origin.wait_for(1, keys[0])
        gate.open()
        seen = asking.result(timeout=20)
    assert {each.version for each in seen} == {1}
    assert fleet.origin.count(keys[0]) == 1


def test_a_large_body_comes_through_the_second_tier_whole(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    fleet.bucket.set_length(keys[0], 3_000_000)
    fleet.warm(keys[0])
    assert fleet.origin.count(keys[0]) == 1


def test_an_answer_from_the_second_tier_says_so(fleet: ReplicaFleet, keys: list[str]) -> None:
    fleet.bucket.publish(keys[0], 1)
    ask(fleet.replicas[0], keys[0])
    eventually(lambda: fleet.valkey.command("KEYS", "*.lease*") == [])
    with RawConnection("127.0.0.1", fleet.replicas[1].port) as connection:
        connection.get(f"/{keys[0]}")
        response = connection.read_response()
    assert response.header("X-Cache") == b"MISS"
    cache_status = response.header("Cache-Status")
    assert cache_status is not None
    assert b"detail=shared-cache" in cache_status
    assert b"stored" in cache_status
    assert fleet.origin.count(keys[0]) == 1


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_a_purge_holds_at_once_where_it_was_acknowledged_and_soon_everywhere(
    fleet: ReplicaFleet, keys: list[str], soft: bool
) -> None:
    fleet.warm(*keys)
    floors_: list[Floor] = []
    with Crowd(fleet.replicas, keys) as crowd:
        for version in range(2, 8):
            for key in keys:
                replica = fleet.replicas[(version + len(key)) % 3]
                fleet.bucket.publish(key, version)
                assert purge(replica, key, soft=soft).status_code == 200
                now = time.monotonic()
                floors_ += floors([replica], key, version, now)
                floors_ += floors(fleet.replicas, key, version, now + TRAVEL_SECONDS)
                # Through all its workers.
                assert {each.version for each in fleet.ask_all(key, 4, [replica])} == {version}
            crowd.wait_for_more(20)
        time.sleep(TRAVEL_SECONDS)
        crowd.wait_for_more(30)
    assert crowd.errors == []
    assert forbidden(crowd.seen, floors_) == []
    assert old_after_new(crowd.seen) == []
    assert {seen.version for seen in crowd.seen[-6:]} == {7}


def test_after_a_purge_the_fleet_asks_once_and_the_purge_counts_what_it_hit(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    key = keys[0]
    for version in range(2, 12):
        fleet.warm(key)
        fleet.bucket.publish(key, version)
        replica = fleet.replicas[version % 3]
        assert purge(replica, key).json()["purged"] == 1
        eventually(partial(fleet.gives, key, version, fleet.replicas))
        # Nothing applies it once more.
        assert fleet.origin.count(key) == version
    fleet.warm(key)
    assert fleet.origin.count(key) == version


def test_what_replicas_count_adds_up_to_what_clients_saw(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    before = [counted(replica) for replica in fleet.replicas]
    with Crowd(fleet.replicas, keys, pause=0.002) as crowd:
        crowd.wait_for_more(300)
    assert crowd.errors == []
    names = {"HIT": "hits", "MISS": "misses", "STALE": "stale", "REVALIDATED": "revalidated"}
    for replica, earlier in zip(fleet.replicas, before, strict=True):
        seen = Counter(names[each.x_cache] for each in crowd.seen if each.port == replica.port)
        now = {name: count + seen[name] for name, count in earlier.items()}
        # A request is counted with its answer, which a client may have a moment earlier.
        eventually(partial(has_counted, replica, now))
    assert fleet.bucket.asked(keys) == dict.fromkeys(keys, 1)


def test_a_new_replica_starts_warm(fleet: ReplicaFleet, keys: list[str]) -> None:
    for key in keys:
        ask(fleet.replicas[0], key)
    eventually(lambda: fleet.valkey.command("KEYS", "*.lease*") == [])
    new = fleet.start()
    try:
        fleet.settle([new])
        for key in keys:
            assert {each.version for each in fleet.ask_all(key, 4, [new])} == {1}
        found = samples(new)
        assert sum(found[each] for each in found if each[0] == "proxy_origin_requests_total") == 0
    finally:
        new.close()
    assert fleet.bucket.asked(keys) == dict.fromkeys(keys, 1)


def test_a_purge_while_valkey_is_down_holds_here_at_once_and_reaches_the_others_later(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    fleet.warm(*keys)
    [key, *_] = keys
    first, *others = fleet.replicas
    fleet.valkey.kill()
    fleet.bucket.publish(key, 2)
    with Crowd(fleet.replicas, keys) as crowd:
        try:
            assert purge(first, key).status_code == 503
            since = time.monotonic()
            assert {each.version for each in fleet.ask_all(key, 6, [first])} == {2}
            assert {each.version for each in fleet.ask_all(key, 2, others)} == {1}
        finally:
            fleet.valkey.start()
        fleet.settle()
        eventually(lambda: {each.version for each in fleet.ask_all(key, 2)} == {2})
        crowd.wait_for_more(60)
    assert crowd.errors == []
    assert forbidden(crowd.seen, floors([first], key, 2, since)) == []
    assert old_after_new(crowd.seen) == []


@pytest.mark.parametrize("prefix", [False, True], ids=["key", "prefix"])
def test_a_purge_that_a_full_valkey_refuses_holds_here_though_the_tier_has_the_old_one(
    own_fleet: ReplicaFleet, prefix: bool
) -> None:
    keys = [f"many/{number}" for number in range(12)]
    fleet = own_fleet
    fleet.warm(*keys)
    first, *others = fleet.replicas
    fleet.valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    fleet.valkey.command("CONFIG", "SET", "maxmemory", "1")
    floors_: list[Floor] = []
    with Crowd(fleet.replicas, keys) as crowd:
        try:
            for key in keys:
                fleet.bucket.publish(key, 2)
            asked = {"prefixes": ["many/"]} if prefix else {"keys": keys}
            assert first.admin("POST", "/cache/purge", json=asked).status_code == 503
            now = time.monotonic()
            for key in keys:
                floors_ += floors([first], key, 2, now)
                # Whichever of its workers fetches it.
                assert {each.version for each in fleet.ask_all(key, 4, [first])} == {2}
            crowd.wait_for_more(60)
        finally:
            fleet.valkey.command("CONFIG", "SET", "maxmemory", "0")
        for key in keys:
            eventually(partial(fleet.gives, key, 2, others), 15)
    assert crowd.errors == []
    assert forbidden(crowd.seen, floors_) == []
    assert old_after_new(crowd.seen) == []


def test_a_replica_that_was_cut_off_hears_of_what_it_missed(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    fleet.warm(*keys)
    [key, other, _] = keys
    first, _second, cut_off = fleet.replicas
    with Crowd(fleet.replicas, keys) as crowd:
        fleet.forwarder.cut()
        try:
            fleet.bucket.publish(key, 2)
            assert purge(first, key).status_code == 200
            now = time.monotonic()
            floors_ = floors([first], key, 2, now)
            floors_ += floors(fleet.replicas[:2], key, 2, now + TRAVEL_SECONDS)
            assert {each.version for each in fleet.ask_all(key, 4, [cut_off])} == {1}
            crowd.wait_for_more(30)
        finally:
            fleet.forwarder.mend()
        fleet.settle()
        floors_ += floors([cut_off], key, 2, time.monotonic())
        assert {each.version for each in fleet.ask_all(key, 4)} == {2}
        crowd.wait_for_more(30)
    assert crowd.errors == []
    assert forbidden(crowd.seen, floors_) == []
    assert old_after_new(crowd.seen) == []
    # Nothing was lost: what the purge was not about it still has, and it is fresh.
    assert fleet.origin.count(other) == 1


@pytest.mark.parametrize("how", ["restarted empty", "flushed", "trimmed while cut off"])
def test_what_may_have_missed_a_purge_is_validated_and_never_sent_as_fresh(
    fleet: ReplicaFleet, keys: list[str], how: str
) -> None:
    fleet.warm(*keys)
    [key, same, _] = keys
    doubtful = fleet.replicas[2:] if how == "trimmed while cut off" else fleet.replicas
    before = {replica.port: mistrusts(replica) for replica in doubtful}
    fleet.bucket.publish(key, 2)
    match how:
        case "restarted empty":
            fleet.valkey.restart_empty()
        case "flushed":
            fleet.valkey.command("FLUSHALL")
        case _:
            fleet.forwarder.cut()
            # Its purge is forgotten before this replica could hear of it.
            assert purge(fleet.replicas[0], key).status_code == 200
            assert purge(fleet.replicas[0], "another").status_code == 200
            [stream] = fleet.valkey.command("KEYS", "s3proxy:*:purges")
            fleet.valkey.command("XTRIM", stream, "MAXLEN", "1")
            fleet.forwarder.mend()
    for replica in doubtful:
        eventually(partial(has_mistrusted_since, replica, before[replica.port]), 10)
    fleet.settle()
    assert {ask(replica, key).version for replica in doubtful} == {2}
    validated = fleet.bucket.validated(same)
    kept = [ask(replica, same) for replica in doubtful]
    assert {each.version for each in kept} == {1}
    assert kept[0].x_cache == "REVALIDATED"
    assert "HIT" not in {each.x_cache for each in kept}
    # The others have it from the first: what was validated since then may be shared again.
    assert fleet.bucket.validated(same) == validated + 1
    assert fleet.origin.count(same) == validated + 2


def test_a_paused_valkey_costs_one_bounded_delay_then_none(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    fleet.warm(*keys)
    first = fleet.replicas[0]
    with Crowd(fleet.replicas, keys) as crowd:
        fleet.valkey.pause()
        try:
            delays = [_seconds_for_cold_keys(replica) for replica in fleet.replicas]
            assert purge(first, keys[0]).status_code == 503
            eventually(lambda: redis_as_told_by(first) != "ok")
            told = first.admin("GET", "/readyz")
            found = samples(first)
            crowd.wait_for_more(60)
        finally:
            fleet.valkey.resume()
        fleet.settle()
        assert redis_as_told_by(first) == "ok"
        eventually(lambda: crowd.count() > 0)
    assert crowd.errors == []
    # Of a request that was under way a lease may be left, which lapses.
    assert crowd.slowest < LAPSE_SECONDS + 1.0
    assert max(max(each) for each in delays) < 1.0
    # Most did not wait at all: each worker tried once.
    assert all(sorted(each)[len(each) // 2] < 0.2 for each in delays), delays
    assert told.status_code == 200
    assert told.json()["checks"]["redis"].startswith(("unreachable since", "failing since"))
    assert found["proxy_fleet_breaker_opened_total", (("calls", "all"),)] > 0
    assert found["proxy_fleet_breaker_state", (("calls", "all"),)] > 0


def test_what_was_asked_for_while_valkey_was_paused_keeps_nobody_waiting_after_it(
    fleet: ReplicaFleet,
) -> None:
    # All workers have connections at rest, on which Valkey finds what was written meanwhile.
    for _ in range(3):
        fleet.ask_all(f"cold{next(_numbers)}", 12)
    cold = []
    fleet.valkey.pause()
    try:
        # Until no worker follows, and beyond that their circuit breakers have let calls through.
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            for replica in fleet.replicas:
                cold.append(f"cold{next(_numbers)}")
                ask(replica, cold[-1])
            time.sleep(0.03)
    finally:
        fleet.valkey.resume()
    fleet.settle()
    with ThreadPoolExecutor(24) as pool:
        seen = list(pool.map(ask, fleet.replicas * len(cold), sorted(cold * 3)))
    assert max(each.ended - each.began for each in seen) < LAPSE_SECONDS + 1.0


def test_a_valkey_that_is_killed_is_told_of_and_load_goes_on(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    fleet.warm(*keys)
    with Crowd(fleet.replicas, keys) as crowd:
        fleet.valkey.kill()
        try:
            for replica in fleet.replicas:
                eventually(partial(does_not_follow, replica))
                told = replica.admin("GET", "/readyz")
                assert told.status_code == 200
                assert told.json()["checks"]["redis"].startswith("unreachable since 20")
            cold = f"cold{next(_numbers)}"
            assert {each.version for each in fleet.ask_all(cold, 4)} == {1}
            # Each server asks for itself, and once.
            assert fleet.origin.count(cold) == len(fleet.replicas)
            crowd.wait_for_more(60)
        finally:
            fleet.valkey.start()
        fleet.settle()
        crowd.wait_for_more(30)
    assert crowd.errors == []
    assert crowd.slowest < 1.0


def test_a_replica_that_dies_while_it_fetches_costs_the_others_its_lease_and_one_get(
    fleet: ReplicaFleet, keys: list[str]
) -> None:
    [key, *_] = keys
    dying = fleet.start()
    fleet.settle([dying])
    gate = fleet.origin.gate()
    fleet.origin.on(key, hold(gate), fleet.bucket.step)
    with ThreadPoolExecutor(2) as pool:
        lost = pool.submit(_ask_in_vain, dying, key)
        fleet.origin.wait_for(1, key)
        waiting = pool.submit(fleet.ask_all, key, 4)
        # They wait for the lease, so that nothing is to be seen of them here.
        time.sleep(0.3)
        dying.kill()
        gate.open()
        lost.result(timeout=10)
        seen = waiting.result(timeout=20)
    dying.close()
    assert {each.version for each in seen} == {1}
    assert max(each.ended - each.began for each in seen) < LAPSE_SECONDS + 1.5
    assert fleet.origin.count(key) == 2


def _seconds_for_cold_keys(replica: Served) -> list[float]:
    seen = [ask(replica, f"cold{next(_numbers)}") for _ in range(12)]
    return [each.ended - each.began for each in seen]


def _ask_in_vain(replica: Served, key: str) -> None:
    with pytest.raises((NoResponse, TimeoutError, OSError)):
        ask(replica, key)


def does_not_follow(replica: Served) -> bool:
    """Has one of its workers noticed that Valkey is away? (The gauge is the least of all.)"""
    return samples(replica)["proxy_fleet_following", ()] == 0


def has_counted(replica: Served, expected: dict[str, float]) -> bool:
    """Has it given so many answers by cache status?"""
    return counted(replica) == expected


def has_mistrusted_since(replica: Served, before: float) -> bool:
    """Has it mistrusted what it had stored, since it had done so that often?"""
    return mistrusts(replica) > before


def redis_as_told_by(replica: Served) -> str:
    """What a worker's `/readyz` says of Redis."""
    text: str = replica.admin("GET", "/readyz").json()["checks"]["redis"]
    return text


def mistrusts(replica: Served) -> float:
    """How often the replica took everything it had stored for stale."""
    return samples(replica)["proxy_fleet_mistrusts_total", ()]
