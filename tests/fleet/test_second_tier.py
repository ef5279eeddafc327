"""The second tier on a real Valkey."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.fleet.entry import PART_BYTES
from proxy.fleet.purge_rules import RETENTION_SECONDS
from proxy.fleet.stream_id import StreamId
from proxy.purge import Purge
from tests.fleet.replica import joined, response

if TYPE_CHECKING:
    from tests.origins.valkey_site import ValkeySite


@pytest.mark.parametrize("size", [0, 5, PART_BYTES * 2 + 1])
async def test_a_response_put_by_one_replica_is_had_by_another(
    valkey: ValkeySite, size: int
) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        stored = response(b"x" * size)
        assert await one.tier.put("a b/ключ", stored, one.tier.mark)
        found = await other.tier.get("a b/ключ")
        assert found is not None
        assert (found.body, found.fields, found.freshness, found.etag) == (
            stored.body, stored.fields, stored.freshness, stored.etag,
        )  # fmt: skip


async def test_what_is_not_there_is_a_miss(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.get("k") is None


async def test_it_is_never_younger_than_it_is_whatever_the_wall_clocks_say(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as ahead, joined(valkey.url) as behind:
        ahead.tier._wall_clock = lambda: time.time() + 1000
        behind.tier._wall_clock = lambda: time.time() - 1000
        stored = response(age=60.0)
        shifted = replace(stored, response_time=stored.response_time + 1000)
        assert await ahead.tier.put("k", shifted, ahead.tier.mark)
        found = await behind.tier.get("k")
        assert found is not None
        assert 60.0 <= found.age(time.time() - 1000) < 63.0


async def test_it_is_kept_for_as_long_as_it_may_be_of_use(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        for key, lifetime in (("short", 10.0), ("long", 1e9)):
            assert await replica.tier.put(key, response(lifetime=lifetime), replica.tier.mark)
        names = {key: f":1:{replica.tier.name_of(key)}" for key in ("short", "long")}
        assert 3600 <= valkey.command("TTL", names["short"]) <= 10 + 3600
        assert RETENTION_SECONDS - 5 <= valkey.command("TTL", names["long"]) <= RETENTION_SECONDS


@pytest.mark.parametrize(
    "damage",
    [b"", b"12", b"\x80\x04.", b"S3FT\x01", b"x" * 1000],
    ids=lambda value: repr(value)[:9],
)
async def test_whatever_else_is_there_is_a_miss(valkey: ValkeySite, damage: bytes) -> None:
    async with joined(valkey.url) as replica:
        valkey.command("SET", f":1:{replica.tier.name_of('k')}", damage)
        assert await replica.tier.get("k") is None


async def test_an_entry_under_another_key_is_a_miss(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("k", response(), replica.tier.mark)
        valkey.command(
            "COPY", f":1:{replica.tier.name_of('k')}", f":1:{replica.tier.name_of('other')}"
        )
        assert await replica.tier.get("other") is None


async def test_a_large_body_without_a_part_is_a_miss(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("k", response(b"x" * (PART_BYTES + 1)), replica.tier.mark)
        valkey.command("DEL", f":1:{replica.tier.name_of('k')}.1")
        assert await replica.tier.get("k") is None


@pytest.mark.parametrize(
    "purge",
    [Purge(keys=frozenset({"a/b"})), Purge(prefixes=("a/",)), Purge(everything=True)],
    ids=["key", "prefix", "all"],
)
async def test_an_acknowledged_purge_forbids_what_is_there_at_once(
    valkey: ValkeySite, purge: Purge
) -> None:
    async with joined(valkey.url) as replica:
        mark = replica.tier.mark
        assert await replica.tier.put("a/b", response(), mark)
        await replica.stream.publish(purge)
        assert await replica.tier.get("a/b") is None
        assert not await replica.tier.put("a/b", response(), mark), "fetched before the purge"
        assert await replica.tier.put("a/b", response(), replica.tier.mark)
        assert await replica.tier.get("a/b") is not None


async def test_a_soft_purge_makes_it_stale_since_then(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("a", response(age=100.0), replica.tier.mark)
        await replica.stream.publish(Purge(keys=frozenset({"a"}), soft=True))
        found = await replica.tier.get("a")
        assert found is not None
        assert found.age(time.time()) > found.freshness.lifetime >= 100.0
        assert found.freshness.stale_while_revalidate == 120.0


async def test_before_the_horizon_it_has_to_be_validated(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("a", response(), replica.tier.mark)
        replica.rules.distrust_before(StreamId(replica.tier.mark.milliseconds + 10**6))
        found = await replica.tier.get("a")
        assert found is not None
        assert found.freshness.no_cache
        assert found.freshness.stale_if_error == 0.0


async def test_nothing_is_used_while_purges_are_not_followed(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("a", response(), replica.tier.mark)
        await replica.stream.aclose()
        assert await replica.tier.get("a") is None


async def test_what_is_removed_is_gone(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("a", response(), replica.tier.mark)
        await replica.tier.remove(["a", "b"])
        assert await replica.tier.get("a") is None
