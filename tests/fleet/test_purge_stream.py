"""Purges between replicas, through a real Valkey that may lose its memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from proxy.fleet import metrics, redis_stream
from proxy.fleet.position import PositionInMemory
from proxy.fleet.stream_id import BEGINNING
from proxy.purge import Purge
from tests.fleet.replica import joined, response, until

if TYPE_CHECKING:
    from tests.origins.valkey_site import ValkeySite

STREAM = "s3proxy:test:purges"


def purge(*keys: str) -> Purge:
    return Purge(keys=frozenset(keys))


@pytest.mark.parametrize(
    "sent",
    [
        purge("a", "ключ/b c"),
        Purge(prefixes=("a/", "b"), soft=True),
        Purge(everything=True),
    ],
)
async def test_a_purge_reaches_every_replica(valkey: ValkeySite, sent: Purge) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        at = await one.stream.publish(sent)
        await until(lambda: other.applied == [sent] and one.applied == [sent])
        assert other.position.get() == at


async def test_it_does_so_at_once(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        times = []
        for number in range(20):
            began = time.perf_counter()
            await one.stream.publish(purge(str(number)))
            await until(lambda number=number: len(other.applied) > number)  # type: ignore[misc]
            times.append(time.perf_counter() - began)
        assert sorted(times)[10] < 0.1


async def test_a_replica_that_was_away_catches_up_before_it_follows(valkey: ValkeySite) -> None:
    position = PositionInMemory()
    async with joined(valkey.url) as there:
        async with joined(valkey.url, position=position):
            await there.stream.publish(purge("before"))
            await until(lambda: position.get() != BEGINNING and position.get() == there.rules.mark)
        missed = [purge(str(number)) for number in range(150)]
        for one in missed:
            await there.stream.publish(one)
        async with joined(valkey.url, position=position) as back:
            assert back.applied == missed
            assert back.mistrusts == 0
            assert back.rules.mark == there.rules.mark


def counted() -> float:
    value: float = metrics.mistrusts._value.get()
    return value


async def test_a_first_start_is_not_counted_as_purges_missed(own_valkey: ValkeySite) -> None:
    before = counted()
    position = PositionInMemory()
    async with joined(own_valkey.url, position=position) as first:
        assert first.mistrusts > 0
        await first.stream.publish(purge("a"))
        async with joined(own_valkey.url) as second:
            assert second.mistrusts > 0
        assert counted() == before
        seen = first.mistrusts
        own_valkey.restart_empty()
        await until(lambda: first.mistrusts > seen)
        await until(lambda: counted() > before)


async def test_a_replica_without_memory_knows_the_rules_but_trusts_nothing_stored(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as there:
        assert await there.tier.put("gone", response(), there.tier.mark)
        assert await there.tier.put("good", response(), there.tier.mark)
        at = await there.stream.publish(Purge(prefixes=("go",), soft=False, keys=frozenset()))
        assert await there.tier.put("good", response(), at)
        async with joined(valkey.url) as new:
            assert new.mistrusts > 0
            assert await new.tier.get("gone") is None
            found = await new.tier.get("good")
            assert found is not None
            assert not found.freshness.no_cache


async def test_a_replica_that_was_away_beyond_the_trimmed_part_mistrusts(
    valkey: ValkeySite,
) -> None:
    position = PositionInMemory()
    async with joined(valkey.url) as there:
        async with joined(valkey.url, position=position):
            await there.stream.publish(purge("before"))
            await until(lambda: position.get() == there.rules.mark)
        for number in range(3):
            await there.stream.publish(purge(str(number)))
        before = there.mistrusts
        valkey.command("XTRIM", STREAM, "MAXLEN", "1")
        async with joined(valkey.url, position=position) as back:
            assert back.mistrusts == 1
            assert back.applied == [purge("2")]
            assert back.rules.horizon >= position.get().before
        assert there.mistrusts == before, "who was there has missed nothing since it started"


async def test_the_stream_is_trimmed(valkey: ValkeySite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "MOST_ENTRIES", 100)
    async with joined(valkey.url) as replica:
        for number in range(350):
            await replica.stream.publish(purge(str(number)))
        assert valkey.command("XLEN", STREAM) <= 200


async def test_what_no_version_of_ours_writes_means_that_something_was_lost(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("k", response(), replica.tier.mark)
        before = replica.mistrusts
        valkey.command("XADD", STREAM, "*", "v", "2", "purge", "{}")
        await until(lambda: replica.mistrusts == before + 1)
        found = await replica.tier.get("k")
        assert found is not None
        assert found.freshness.no_cache


async def test_a_server_that_was_restarted_empty_is_mistrusted(own_valkey: ValkeySite) -> None:
    async with joined(own_valkey.url) as one, joined(own_valkey.url) as other:
        await one.stream.publish(purge("a"))
        await until(lambda: len(other.applied) == 1)
        before = one.mistrusts, other.mistrusts
        own_valkey.restart_empty()
        await until(lambda: one.mistrusts > before[0] and other.mistrusts > before[1])
        await until(lambda: one.stream.following and other.stream.following)
        await one.stream.publish(purge("b"))
        await until(lambda: other.applied[-1] == purge("b"))


@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", STREAM)])
async def test_a_stream_that_vanished_is_noticed(
    valkey: ValkeySite, command: tuple[str, ...]
) -> None:
    async with joined(valkey.url) as replica:
        before = replica.mistrusts
        valkey.command(*command)
        await until(lambda: replica.mistrusts > before)
        await until(lambda: replica.stream.following)


async def test_a_purge_right_after_the_stream_vanished_does_not_hide_that(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        before = other.mistrusts
        valkey.command("FLUSHALL")
        await one.stream.publish(purge("a"))
        await until(lambda: purge("a") in other.applied)
        assert other.mistrusts > before


async def test_a_server_that_went_back_in_time_is_mistrusted(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as one:
        await one.stream.publish(purge("a"))
        await until(lambda: one.applied == [purge("a")])
        earlier = valkey.command("DUMP", STREAM)
        lost = await one.stream.publish(purge("lost"))
        await until(lambda: one.position.get() == lost)
        async with joined(valkey.url) as other:
            assert await other.tier.put("lost", response(), earlier_mark := one.rules.mark)
            assert earlier_mark == lost
            before = one.mistrusts
            valkey.command("RESTORE", STREAM, "0", earlier, "REPLACE")
            await until(lambda: one.mistrusts > before)
            await until(lambda: one.stream.following and other.stream.following)
            found = await other.tier.get("lost")
            assert found is not None
            assert found.freshness.no_cache


async def test_another_run_of_the_server_may_have_forgotten_the_last_purges(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as one:
        assert await one.tier.put("k", response(), one.tier.mark)
        # As after a restart from a snapshot, which has the stream and the entry, but not the end.
        valkey.command("SET", "s3proxy:test:run", "another")
        before = one.mistrusts
        async with joined(valkey.url) as new:
            found = await new.tier.get("k")
            assert found is not None
            assert found.freshness.no_cache
            await until(lambda: one.mistrusts > before)


async def test_without_redis_a_replica_does_not_catch_up(own_valkey: ValkeySite) -> None:
    own_valkey.kill()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), joined(own_valkey.url):
            pass
