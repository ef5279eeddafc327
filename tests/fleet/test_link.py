"""What a gateway has to do with other replicas, and a worker with its neighbours."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from proxy import processes
from proxy.core.messages import StoredResponse
from proxy.fleet.link import Errand, Link
from proxy.fleet.service import Fleet
from proxy.fleet.shared_position import SharedPosition
from proxy.purge import Purge
from tests.fleet.replica import Replica, joined, response, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.origins.valkey_site import ValkeySite

PURGE = Purge(keys=frozenset({"k"}))
PREFIX = Purge(prefixes=("k",))


class Worker:
    """A replica's worker: its part in the fleet, and the link to it."""

    def __init__(self, replica: Replica, position: SharedPosition) -> None:
        self.replica = replica
        fleet = Fleet(replica.tier, replica.leases, replica.rules, replica.stream)
        self.link = Link(fleet, position)

    async def find(self, key: str = "k") -> StoredResponse | Errand:
        return await self.link.find(key, lambda found: not found.freshness.no_cache)

    async def fetch(self, body: bytes, key: str = "k") -> None:
        """Ask the origin on behalf of all, and share what it said."""
        errand = await self.find(key)
        assert isinstance(errand, Errand)
        errand.end(response(body))
        await until(lambda: not self.link._tasks)

    async def stop_hearing(self) -> None:
        """It goes on as if it followed the stream, which it does not read any more."""
        reading = self.replica.stream._task
        assert reading is not None
        while not reading.done():
            # Again and again, as in aclose().
            reading.cancel()
            await asyncio.wait({reading}, timeout=0.05)
        assert self.replica.rules.current


@pytest.fixture
async def position() -> SharedPosition:
    return SharedPosition()


@pytest.fixture
async def worker(valkey: ValkeySite, position: SharedPosition) -> AsyncIterator[Worker]:
    async with joined(valkey.url, position=position) as replica:
        yield Worker(replica, position)


@pytest.fixture
async def neighbour(
    valkey: ValkeySite, position: SharedPosition, worker: Worker
) -> AsyncIterator[Worker]:
    """Another worker of the same server."""
    async with joined(valkey.url, position=position) as replica:
        yield Worker(replica, position)


@pytest.fixture
async def other(valkey: ValkeySite) -> AsyncIterator[Worker]:
    """A worker of another server."""
    position = SharedPosition()
    async with joined(valkey.url, position=position) as replica:
        yield Worker(replica, position)


async def test_what_one_replica_fetched_the_other_finds(worker: Worker, other: Worker) -> None:
    await other.fetch(b"once")
    found = await worker.find()
    assert isinstance(found, StoredResponse)
    assert found.body == b"once"


async def test_a_view_of_memory_is_shared_as_its_bytes(worker: Worker, other: Worker) -> None:
    errand = await other.find()
    assert isinstance(errand, Errand)
    errand.end(response(memoryview(b"hello")))  # type: ignore[arg-type]
    await until(lambda: not other.link._tasks)
    found = await worker.find()
    assert isinstance(found, StoredResponse)
    assert found.body == b"hello"


async def test_what_has_to_be_validated_comes_with_leave_to_ask(
    worker: Worker, other: Worker
) -> None:
    await other.fetch(b"once")
    errand = await worker.link.find("k", lambda _: False)
    assert isinstance(errand, Errand)
    assert errand.known is not None
    assert errand.known.body == b"once"


async def test_who_waits_is_let_go_when_nothing_is_to_be_shared(
    worker: Worker, other: Worker
) -> None:
    errand = await other.find()
    assert isinstance(errand, Errand)
    waiting = asyncio.create_task(worker.find())
    await asyncio.sleep(0.02)
    errand.end(None)
    assert isinstance(await asyncio.wait_for(waiting, 1), Errand)


@pytest.mark.parametrize("purge", [PURGE, PREFIX], ids=["key", "prefix"])
async def test_after_a_purge_no_worker_of_the_server_finds_the_purged(
    worker: Worker, neighbour: Worker, other: Worker, purge: Purge
) -> None:
    await other.fetch(b"old")
    published = await worker.link.publish(purge)
    assert published.everywhere
    for each in (worker, neighbour):
        errand = await each.find()
        assert isinstance(errand, Errand)
        assert errand.known is None
        errand.end(None)


async def test_a_worker_that_has_not_heard_of_a_neighbours_purge_does_not_use_the_tier(
    worker: Worker, neighbour: Worker, other: Worker
) -> None:
    await other.fetch(b"old")
    await neighbour.stop_hearing()
    await worker.link.publish(PREFIX)
    assert neighbour.replica.rules.current
    assert isinstance(await neighbour.find(), Errand)


async def test_a_worker_that_has_not_heard_of_what_its_neighbour_has_does_not_use_the_tier(
    worker: Worker, neighbour: Worker, other: Worker
) -> None:
    await other.fetch(b"old")
    await neighbour.stop_hearing()
    await other.link.publish(PREFIX)
    await until(lambda: worker.replica.applied == [PREFIX])
    assert isinstance(await neighbour.find(), Errand), "it would put it back into shared memory"


async def test_its_own_later_purge_does_not_hide_one_it_has_not_heard_of(
    worker: Worker, neighbour: Worker, other: Worker
) -> None:
    await other.fetch(b"old")
    await neighbour.stop_hearing()
    await worker.link.publish(PREFIX)
    await neighbour.link.publish(Purge(keys=frozenset({"another"})))
    assert isinstance(await neighbour.find(), Errand)


async def test_a_purge_on_its_way_is_waited_for_a_moment(worker: Worker, neighbour: Worker) -> None:
    for _ in range(20):
        await worker.link.publish(PURGE)
        await worker.fetch(b"new")
        found = await neighbour.find()
        assert isinstance(found, StoredResponse), "the origin would have been asked twice"


async def test_a_purge_that_does_not_come_costs_one_short_wait(
    worker: Worker, neighbour: Worker
) -> None:
    await neighbour.stop_hearing()
    await worker.link.publish(PURGE)
    began = time.monotonic()
    await neighbour.find()
    assert 0.1 < time.monotonic() - began < 1.0


async def test_its_own_purge_is_not_applied_again(worker: Worker, neighbour: Worker) -> None:
    published = await worker.link.publish(PURGE)
    worker.link.finish(published)
    end = await worker.link.publish(PREFIX)
    await until(lambda: worker.replica.stream.read_to == neighbour.replica.stream.read_to)
    worker.link.finish(end)
    await until(lambda: not neighbour.replica.stream.left_to_senders)
    await until(lambda: not worker.replica.stream.left_to_senders)
    assert worker.replica.applied == neighbour.replica.applied == []


async def test_a_purge_whose_sender_died_over_it_is_applied_by_its_neighbours(
    worker: Worker, neighbour: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.fleet.purge_applier.SENDER_SECONDS", 0.2)
    await worker.link.publish(PURGE)
    await until(lambda: neighbour.replica.applied == [PURGE])


async def test_a_purge_that_could_not_be_told_keeps_all_workers_from_the_tier(
    own_valkey: ValkeySite, position: SharedPosition
) -> None:
    url = own_valkey.url
    async with joined(url, position=position) as one, joined(url, position=position) as two:
        worker, neighbour = Worker(one, position), Worker(two, position)
        await worker.fetch(b"old")
        assert isinstance(await neighbour.find(), StoredResponse)
        own_valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        own_valkey.command("CONFIG", "SET", "maxmemory", "1")
        assert not (await worker.link.publish(PREFIX)).everywhere
        assert neighbour.replica.rules.current
        assert isinstance(await neighbour.find(), Errand)
        own_valkey.command("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: not position.owes)
        await until(lambda: neighbour.replica.stream.read_to == position.known)
        assert isinstance(await neighbour.find(), Errand), "now it is known to be purged"


async def test_what_a_dead_worker_could_not_tell_makes_all_replicas_mistrust(
    worker: Worker, other: Worker, position: SharedPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = other.replica.mistrusts
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_index", 3)
        position.owe(now=True)
    position.forget_process(3)
    assert position.owes
    await until(lambda: not position.owes)
    await until(lambda: other.replica.mistrusts == before + 1)


async def test_after_a_purge_nobody_waits_for_what_was_asked_before_it(
    worker: Worker, other: Worker
) -> None:
    early = await other.find()
    assert isinstance(early, Errand)
    await worker.link.publish(PURGE)
    await until(lambda: other.replica.rules.mark == worker.replica.rules.mark)
    began = time.monotonic()
    late = await worker.find()
    assert isinstance(late, Errand)
    assert time.monotonic() - began < 1.0
    waiting = asyncio.create_task(other.find())
    early.end(response(b"old"))
    late.end(response(b"new"))
    found = await waiting
    assert isinstance(found, StoredResponse), "those that ask after it wait for each other"
    assert found.body == b"new"


async def test_a_link_that_closes_lets_go_who_waits(worker: Worker, other: Worker) -> None:
    errand = await other.find()
    assert isinstance(errand, Errand)
    waiting = asyncio.create_task(worker.find())
    await asyncio.sleep(0.02)
    errand.end(response(b"once"))
    await other.link.aclose()
    found = await asyncio.wait_for(waiting, 1)
    assert isinstance(found, StoredResponse)


async def test_a_hard_purge_makes_room_in_the_tier(worker: Worker, valkey: ValkeySite) -> None:
    await worker.fetch(b"old")
    assert valkey.command("KEYS", f"*{worker.replica.tier.name_of('k')}") != []
    await worker.link.publish(PURGE)
    assert valkey.command("KEYS", f"*{worker.replica.tier.name_of('k')}") == []
