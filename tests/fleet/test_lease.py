"""One origin request in the fleet for a cold key."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.core.messages import StoredResponse
from proxy.fleet.lease import Lease
from tests.fleet.replica import Replica, joined, response, until

if TYPE_CHECKING:
    from tests.origins.valkey_site import ValkeySite

ROOT = Path(__file__).resolve().parents[2]


def lease_name(replica: Replica) -> str:
    """What Redis has the lease of "k" as."""
    return f":1:{replica.tier.lease_name_of('k')}"


def holder_exists(valkey: ValkeySite, replica: Replica) -> bool:
    """Does anybody hold the lease of "k", as far as Redis knows?"""
    return bool(valkey.command("EXISTS", lease_name(replica)))


async def seconds_to_take(replica: Replica) -> float:
    """Seconds until it has leave to ask for "k"."""
    began = time.monotonic()
    assert isinstance(await replica.leases.take("k"), Lease)
    return time.monotonic() - began


async def connect(replica: Replica) -> None:
    """It has connections at rest, so that the next call is written at once."""
    await asyncio.gather(*(replica.tier.get("another") for _ in range(3)))


async def test_one_asks_and_the_others_get_what_it_got(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        lease = await one.leases.take("k")
        assert isinstance(lease, Lease)
        waiting = asyncio.create_task(other.leases.take("k"))
        await asyncio.sleep(0)
        assert await one.tier.put("k", response(b"once"), one.tier.mark)
        await lease.release(stored=True)
        found = await waiting
        assert isinstance(found, StoredResponse)
        assert found.body == b"once"


async def test_who_waits_is_let_go_when_the_response_is_not_for_the_tier(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        lease = await one.leases.take("k")
        assert isinstance(lease, Lease)
        waiting = [asyncio.create_task(other.leases.take("k")) for _ in range(3)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await lease.release(stored=False)
        found = await asyncio.gather(*waiting)
        assert [isinstance(lease, Lease) and not lease.held for lease in found] == [True] * 3
        assert time.monotonic() - began < 1.0


async def test_a_dead_holder_costs_no_more_than_what_a_lease_lasts_unrenewed(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url, lapse=1) as dead, joined(valkey.url) as other:
        assert isinstance(await dead.leases.take("k"), Lease)
        await dead.leases.aclose()
        assert 0.5 < await seconds_to_take(other) < 2.5


async def test_a_holder_that_lives_keeps_others_waiting(valkey: ValkeySite) -> None:
    async with joined(valkey.url, bound=0.25, lapse=2) as slow, joined(valkey.url) as other:
        lease = await slow.leases.take("k")
        assert isinstance(lease, Lease)
        waiting = asyncio.create_task(other.leases.take("k"))
        # Longer than an unrenewed lease lasts.
        await asyncio.sleep(3.0)
        assert not waiting.done()
        assert await slow.tier.put("k", response(b"once"), slow.tier.mark)
        await lease.release(stored=True)
        assert isinstance(await waiting, StoredResponse)


async def test_a_holder_that_takes_too_long_is_waited_for_no_more(valkey: ValkeySite) -> None:
    async with joined(valkey.url, bound=0.25, lease=2, lapse=1) as slow, joined(valkey.url) as two:
        assert isinstance(await slow.leases.take("k"), Lease)
        assert 1.2 < await seconds_to_take(two) < 4.0


async def test_a_lease_that_is_written_after_it_was_given_up_keeps_nobody_waiting_for_long(
    own_valkey: ValkeySite,
) -> None:
    async with joined(own_valkey.url, bound=0.25, lapse=1) as one, joined(own_valkey.url) as other:
        await connect(one)
        own_valkey.pause()
        given_up = await one.leases.take("k")
        own_valkey.resume()
        assert isinstance(given_up, Lease)
        assert not given_up.held
        await until(lambda: holder_exists(own_valkey, one))
        assert await seconds_to_take(other) < 2.5


async def test_a_release_that_redis_is_not_told_of_keeps_nobody_waiting_for_long(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url, bound=0.25, lapse=1) as one, joined(valkey.url) as other:
        lease = await one.leases.take("k")
        assert isinstance(lease, Lease)
        one.guard.breaker.failed("gone")
        await lease.release(stored=False)
        assert holder_exists(valkey, one)
        assert await seconds_to_take(other) < 2.5


async def test_who_may_not_read_the_tier_neither_takes_a_lease_nor_waits_for_one(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as detached, joined(valkey.url) as other:
        detached.rules.current = False
        found = await detached.leases.take("k")
        assert isinstance(found, Lease)
        assert not found.held
        assert not holder_exists(valkey, detached)
        assert isinstance(await other.leases.take("k"), Lease)
        assert await seconds_to_take(detached) < 1.0


async def test_what_is_of_no_use_is_not_waited_for_again(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as replica:
        assert await replica.tier.put("k", response(b"old"), replica.tier.mark)
        found = await replica.leases.take("k", lambda stored: stored.body == b"new")
        assert isinstance(found, Lease)
        assert found.held


async def test_a_lease_that_has_ended_is_not_taken_from_the_next_holder(
    valkey: ValkeySite,
) -> None:
    async with (
        joined(valkey.url, bound=0.25, lease=1, lapse=1) as slow,
        joined(valkey.url, lapse=3) as other,
    ):
        first = await slow.leases.take("k")
        assert isinstance(first, Lease)
        second = await other.leases.take("k")
        while isinstance(second, Lease) and not second.held:
            second = await other.leases.take("k")
        await first.release(stored=True)
        assert holder_exists(valkey, slow)


async def test_a_lease_that_redis_forgot_is_not_taken_from_the_next_holder(
    valkey: ValkeySite,
) -> None:
    async with joined(valkey.url) as one, joined(valkey.url) as other:
        first = await one.leases.take("k")
        assert isinstance(first, Lease)
        valkey.command("DEL", lease_name(one))
        await until(lambda: first.lapses <= time.monotonic(), 2.0)
        assert isinstance(await other.leases.take("k"), Lease)
        await first.release(stored=True)
        assert holder_exists(valkey, one)


async def test_without_redis_everyone_may_ask(own_valkey: ValkeySite) -> None:
    own_valkey.kill()
    replica = Replica(own_valkey.url)
    found = await replica.leases.take("k")
    assert isinstance(found, Lease)
    assert not found.held


async def test_a_server_that_stops_lets_all_who_wait_go(own_valkey: ValkeySite) -> None:
    async with joined(own_valkey.url, bound=0.25) as one, joined(own_valkey.url, bound=0.25) as two:
        assert isinstance(await one.leases.take("k"), Lease)
        waiting = asyncio.create_task(two.leases.take("k"))
        await asyncio.sleep(0.05)
        own_valkey.pause()
        began = time.monotonic()
        found = await waiting
        own_valkey.resume()
        assert isinstance(found, Lease)
        assert time.monotonic() - began < 1.0


_PROCESS = """
import asyncio, json, sys
from proxy.fleet.lease import Lease
from tests.fleet.replica import joined, response

async def main():
    fetched = []
    async with joined(sys.argv[1]) as replica:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async def ask(key):
            found = await replica.leases.take(key)
            if not isinstance(found, Lease):
                return found.body
            fetched.append(key)
            await asyncio.sleep(0.02)
            assert await replica.tier.put(key, response(key.encode()), replica.tier.mark)
            await found.release(stored=True)
            return key.encode()
        keys = [f"k{number}" for number in range(40)]
        bodies = await asyncio.gather(*map(ask, keys))
        assert bodies == [key.encode() for key in keys]
    print(json.dumps(fetched))

asyncio.run(main())
"""


async def test_three_processes_ask_the_origin_once_for_each_key(valkey: ValkeySite) -> None:
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "s3proxy_site.settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, valkey.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environ,
        )
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        answers = await asyncio.gather(
            *(asyncio.to_thread(process.communicate, "\n", 20) for process in processes)
        )
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=5)
    fetched = [key for out, _ in answers for key in json.loads(out)]
    assert sorted(fetched) == sorted(f"k{number}" for number in range(40))


async def test_the_lease_is_over_when_the_tier_has_it_already(valkey: ValkeySite) -> None:
    async with joined(valkey.url) as one:
        assert await one.tier.put("k", response(), one.tier.mark)
        assert isinstance(await one.leases.take("k"), StoredResponse)
        await until(lambda: not holder_exists(valkey, one))
