"""What other replicas have comes before the origin, unless a purge forbids it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

from proxy.cache.leases import Leases
from proxy.core.freshness import Policy
from proxy.fleet.link import Link
from proxy.fleet.service import Fleet
from proxy.fleet.shared_position import SharedPosition
from proxy.gateway import Gateway
from proxy.purge import Purge
from proxy.turns import Turns
from tests.fleet.replica import Replica, joined, until
from tests.gateway.subject import Clock, Proxy
from tests.origins import ScriptedOrigin, conditional, hold, respond, s3_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from django.core.cache.backends.base import BaseCache

    from tests.gateway.subject import Reply
    from tests.origins.valkey_site import ValkeySite


@dataclass
class Member:
    """One replica: a gateway, and what connects it with the others."""

    proxy: Proxy
    replica: Replica
    link: Link

    async def get(self, key: str, *lines: str) -> Reply:
        """The whole reply, once what was fetched for it is shared."""
        reply = await self.proxy.get(key, *lines)
        await self.settle()
        return reply

    async def settle(self) -> None:
        """Wait until nothing is being fetched, or shared."""
        await self.proxy.idle()
        await until(lambda: not self.link._tasks)


@asynccontextmanager
async def member(
    origin: ScriptedOrigin, url: str, cache: BaseCache | None = None
) -> AsyncIterator[Member]:
    """A replica that has caught up; ``cache`` is its second tier, if not Redis."""
    position = SharedPosition()
    async with Proxy(origin.endpoint, clock=Clock(time.time())) as proxy:
        options = {"position": position, "cache": cache, "store": proxy.store}
        async with joined(url, **options) as replica:
            fleet = Fleet(replica.tier, replica.leases, replica.rules, replica.stream)
            link = Link(fleet, position)
            turns = Turns(Leases(), proxy.store, seconds=5.0)
            policy = Policy(300.0, 0.0, 3600.0, 5.0, 2**24)
            proxy.gateway = Gateway(proxy.store, turns, proxy.s3, policy, proxy.clock, link=link)
            yield Member(proxy, replica, link)


@pytest.fixture
async def one(origin: ScriptedOrigin, valkey: ValkeySite) -> AsyncIterator[Member]:
    async with member(origin, valkey.url) as joined_one:
        yield joined_one


@pytest.fixture
async def other(origin: ScriptedOrigin, valkey: ValkeySite) -> AsyncIterator[Member]:
    async with member(origin, valkey.url) as joined_one:
        yield joined_one


async def test_what_another_replica_has_is_a_miss_that_names_the_shared_cache(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    origin.on("a", respond(body=b"x"))
    await one.get("a")
    reply = await other.get("a")
    assert (reply.status, reply.body, reply.cache) == (200, b"x", "MISS")
    assert "detail=shared-cache" in reply.cache_status
    assert (await other.get("a")).cache == "HIT"
    assert origin.count() == 1


async def test_an_absence_is_shared_too(origin: ScriptedOrigin, one: Member, other: Member) -> None:
    origin.on("a", s3_error(404, "NoSuchKey"))
    assert [(await each.get("a")).status for each in (one, other)] == [404, 404]
    assert origin.count() == 1


@pytest.mark.parametrize("said", ["private", "no-store"])
async def test_what_is_one_clients_alone_is_not_shared(
    origin: ScriptedOrigin, one: Member, other: Member, said: str
) -> None:
    origin.on("a", respond(body=b"x", headers={"Cache-Control": said}))
    for each in (one, other):
        assert "detail=shared-cache" not in (await each.get("a")).cache_status
    assert origin.count() == 2


async def test_what_has_to_be_validated_is_asked_for_with_its_validator(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    origin.on("a", conditional(b"x", '"v1"', headers={"Cache-Control": "no-cache"}))
    await one.get("a")
    reply = await other.get("a")
    assert (reply.status, reply.body, reply.cache) == (200, b"x", "REVALIDATED")
    assert origin.requests[-1].header("If-None-Match") == '"v1"'


async def test_a_reload_is_validated_by_the_origin(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    origin.on("a", conditional(b"x", '"v1"'))
    await one.get("a")
    assert (await other.get("a", "Cache-Control: no-cache")).cache == "REVALIDATED"
    assert origin.count() == 2


async def test_another_variant_is_not_what_was_asked_for(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    origin.on("a", respond(body=b"x", headers={"Vary": "Accept-Language"}))
    await one.get("a", "Accept-Language: en")
    reply = await other.get("a", "Accept-Language: de")
    assert "detail=shared-cache" not in reply.cache_status
    assert origin.count() == 2


async def test_a_purge_counts_what_it_hit_here_and_reaches_the_others(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    for version in range(1, 6):
        origin.on("a", respond(body=b"%d" % version))
        for each in (one, other):
            assert (await each.get("a")).body == b"%d" % version
        purged = await one.proxy.gateway.purge(Purge(prefixes=("a",)))
        assert (purged.responses, purged.everywhere) == (1, True)
        assert await wait_until_gone(other)
    assert origin.count() == 5


async def wait_until_gone(there: Member) -> bool:
    await until(lambda: there.proxy.store.get("a") is None)
    return True


async def test_a_purge_without_redis_is_done_here_and_said_not_to_be_everywhere(
    origin: ScriptedOrigin, own_valkey: ValkeySite
) -> None:
    origin.on("a", respond(body=b"x"))
    async with member(origin, own_valkey.url) as one, member(origin, own_valkey.url) as other:
        for each in (one, other):
            await each.get("a")
        own_valkey.kill()
        purged = await one.proxy.gateway.purge(Purge(keys=frozenset({"a"})))
        assert (purged.responses, purged.everywhere) == (1, False)
        assert other.proxy.store.get("a") is not None
        own_valkey.start()
        await wait_until_gone(other)


async def test_a_fetch_that_a_purge_overtakes_is_not_shared(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=b"old"))
    early = one.proxy.begin("a")
    await origin.until_requests(1)
    log = one.proxy.store.purge_log
    before = log.sequence
    await other.proxy.gateway.purge(Purge(keys=frozenset({"a"})))
    # It is on its way to the other replica when it is acknowledged.
    await until(lambda: log.has_purged("a", before))
    origin.on("a", respond(body=b"new"))
    gate.open()
    assert (await early).body == b"old"
    await one.settle()
    assert [(await each.get("a")).body for each in (other, one)] == [b"new", b"new"]


async def test_a_failing_origin_keeps_no_other_replica_waiting(
    origin: ScriptedOrigin, one: Member, other: Member
) -> None:
    origin.on("a", s3_error(403, "SignatureDoesNotMatch"))
    began = time.monotonic()
    assert [(await each.get("a")).status for each in (one, other)] == [502, 502]
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("kind", ["locmem", "file"])
async def test_another_of_djangos_backends_may_be_the_second_tier(
    origin: ScriptedOrigin, valkey: ValkeySite, tmp_path: Path, kind: str
) -> None:
    def backend() -> BaseCache:
        if kind == "locmem":
            return LocMemCache(str(tmp_path), {})
        return FileBasedCache(str(tmp_path), {})

    origin.on("a", respond(body=b"x" * 1_500_000))
    async with (
        member(origin, valkey.url, backend()) as one,
        member(origin, valkey.url, backend()) as other,
    ):
        await one.get("a")
        reply = await other.get("a")
        assert reply.body == b"x" * 1_500_000
        assert "detail=shared-cache" in reply.cache_status
        assert origin.count() == 1
        await one.proxy.gateway.purge(Purge(prefixes=("a",)))
        origin.on("a", respond(body=b"new"))
        await wait_until_gone(other)
        assert [(await each.get("a")).body for each in (other, one)] == [b"new", b"new"]
        assert origin.count() == 2
