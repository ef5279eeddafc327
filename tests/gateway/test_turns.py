"""Two workers of one server, as two gateways on one store: one of them asks the origin."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from proxy.cache.leases import Leases
from proxy.core.freshness import Policy
from proxy.core.messages import Request
from proxy.gateway import Gateway
from proxy.purge import Purge
from proxy.turns import Turns
from tests.gateway.subject import Bucket, Proxy, Reply, reply_of, s3_origin
from tests.origins import ScriptedOrigin, cut_after, hold, respond, sequence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


class Workers:
    """Two gateways that have in common what workers have."""

    def __init__(self, origin: ScriptedOrigin, *, longest_turn: float = 5.0) -> None:
        self._origin = origin
        self._proxy = Proxy(origin.endpoint)
        self.store = self._proxy.store
        self.leases = Leases()
        policy = Policy(300, 120, 3600, 5, 1000)
        self.gateways = [
            Gateway(
                self.store,
                Turns(self.leases, self.store, seconds=longest_turn),
                s3_origin(Bucket(origin.endpoint), retries=0, clock=self._proxy.clock),
                policy,
                self._proxy.clock,
            )
            for _ in range(2)
        ]

    def begin(self, worker: int, *lines: tuple[bytes, bytes]) -> asyncio.Task[Reply]:
        async def ask() -> Reply:
            request = Request.from_fields("GET", "k", lines)
            return await reply_of(await self.gateways[worker].answer(request))

        return asyncio.create_task(ask())

    async def begin_both(self) -> tuple[asyncio.Task[Reply], asyncio.Task[Reply]]:
        """A request of the first worker, which asks the origin; one of the second, which waits."""
        requests = self._origin.count("k")
        first = self.begin(0)
        await self._origin.until_requests(requests + 1)
        second = self.begin(1)
        await self.until_waiting(1)
        return first, second

    async def until_waiting(self, worker: int) -> None:
        """Wait until a worker has a flight, which has looked whose turn it is."""
        flights = self.gateways[worker]._fetcher.flights
        await self._proxy.until(lambda: len(flights) == 1)
        # Its task runs with the next turn of the loop, up to its first pause.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        for gateway in self.gateways:
            await gateway.aclose()
        await self._proxy.gateway.aclose()


@pytest.fixture
async def workers(origin: ScriptedOrigin) -> AsyncIterator[Workers]:
    both = Workers(origin)
    yield both
    await both.aclose()


async def test_a_cold_key_is_asked_for_by_one_of_them(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    gate = origin.gate()
    origin.on("k", hold(gate), respond(200, b"whole", FRESH))
    first, second = await workers.begin_both()
    gate.open()
    assert (await first).body == b"whole"
    reply = await second
    assert (reply.body, reply.cache) == (b"whole", "MISS")
    assert "collapsed" in reply.cache_status
    assert origin.count("k") == 1


async def test_a_stale_key_is_validated_by_one_of_them(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    gate = origin.gate()
    stale = respond(200, b"whole", {"Cache-Control": "no-cache", "ETag": '"1"'})
    origin.on("k", sequence(stale, (hold(gate), respond(304, b"", FRESH))))
    await workers.begin(0)
    first, second = await workers.begin_both()
    gate.open()
    assert (await first).cache == "REVALIDATED"
    assert (await second).body == b"whole"
    assert origin.count("k") == 2


@pytest.mark.parametrize(
    "of_no_use_to_others",
    [
        respond(200, b"whole", {"Cache-Control": "private"}),
        respond(200, b"x" * 2000, FRESH),
        respond(500),
        cut_after(2, respond(200, b"whole", FRESH)),
    ],
    ids=["private", "too large", "an error", "cut"],
)
async def test_nobody_waits_for_what_is_not_stored(
    workers: Workers, origin: ScriptedOrigin, of_no_use_to_others: object
) -> None:
    gate = origin.gate()
    origin.on("k", sequence((hold(gate), of_no_use_to_others), respond(200, b"own", FRESH)))  # type: ignore[arg-type]
    first, second = await workers.begin_both()
    assert origin.count("k") == 1
    gate.open()
    assert (await asyncio.wait_for(second, 2)).body == b"own"
    await first
    assert origin.count("k") == 2


async def test_a_turn_begun_before_a_purge_keeps_nobody_waiting(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    gate = origin.gate()
    old, new = respond(200, b"old", FRESH), respond(200, b"new", FRESH)
    origin.on("k", sequence((hold(gate), old), new))
    first = workers.begin(0)
    await origin.until_requests(1)
    await workers.gateways[1].purge(Purge(frozenset({"k"})))
    assert (await asyncio.wait_for(workers.begin(1), 2)).body == b"new"
    gate.open()
    assert (await first).body == b"old"
    stored = workers.store.get("k")
    assert stored is not None
    assert stored.body == b"new"


async def test_one_that_waits_when_a_purge_comes_gets_the_new_version(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    gate = origin.gate()
    old, new = respond(200, b"old", FRESH), respond(200, b"new", FRESH)
    origin.on("k", sequence((hold(gate), old), new))
    first, second = await workers.begin_both()
    await workers.gateways[0].purge(Purge(frozenset({"k"})))
    assert (await asyncio.wait_for(second, 2)).body == b"new"
    gate.open()
    await first


async def test_a_dead_workers_turn_ends_at_once(workers: Workers, origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"whole", FRESH))
    lease = workers.leases.take("k", workers.store.purge_log.sequence, time.monotonic(), 1000)
    assert lease is not None
    waiting = workers.begin(0)
    await workers.until_waiting(0)
    assert origin.count("k") == 0
    workers.leases.forget_process(0)
    assert (await asyncio.wait_for(waiting, 2)).body == b"whole"


async def test_nobody_waits_longer_than_a_turn(origin: ScriptedOrigin) -> None:
    workers = Workers(origin, longest_turn=0.2)
    origin.on("k", respond(200, b"whole", FRESH))
    lease = workers.leases.take("k", workers.store.purge_log.sequence, time.monotonic(), 1000)
    assert lease is not None
    began = time.monotonic()
    assert (await asyncio.wait_for(workers.begin(0), 5)).body == b"whole"
    assert 0.2 <= time.monotonic() - began < 2
    await workers.aclose()


async def test_what_may_have_missed_a_purge_is_validated_before_it_is_sent(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    origin.on("k", sequence(respond(200, b"whole", FRESH), respond(304, b"", FRESH)))
    await workers.begin(0)
    assert workers.store.mistrust() == 1
    reply = await workers.begin(1)
    assert (reply.cache, reply.body) == ("REVALIDATED", b"whole")
    assert origin.requests[-1].header("if-none-match") == '"1"'
    assert (await workers.begin(0)).cache == "HIT"


async def test_what_may_have_missed_a_purge_stands_in_for_no_origin(
    workers: Workers, origin: ScriptedOrigin
) -> None:
    origin.on("k", sequence(respond(200, b"whole", FRESH), respond(503)))
    await workers.begin(0)
    workers.store.mistrust()
    assert (await workers.begin(1)).status == 503
