"""A Redis that is slow, gone, full, locked, or no Redis at all: one bounded delay, then none."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.fleet.breaker import State
from proxy.fleet.clients import close_clients
from proxy.fleet.errors import FleetUnavailableError
from proxy.fleet.guard import BOUND_SECONDS
from proxy.purge import Purge
from tests.fleet.replica import Replica, joined, response, until
from tests.origins.ports import refusing_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.origins.valkey_site import ValkeySite

GARBAGE = [
    b"",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00" * 100,
    b"$-5\r\n",
    b"$99999999999\r\nx",
    b"*3\r\n",
    b"-LOADING Valkey is loading the dataset in memory\r\n" * 5,
    b"-READONLY You can't write against a read only replica.\r\n" * 5,
    b"-MOVED 3999 127.0.0.1:1\r\n" * 5,
    b"-\xff\xfe\r\n" * 5,
    b":1\r\n" * 5,
    b"+OK\r\n" * 5,
]


@asynccontextmanager
async def answering(words: bytes) -> AsyncIterator[str]:
    """The URL of a server that says the same to everything."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(4096):
            writer.write(words)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        await close_clients()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def use(replica: Replica) -> float:
    """Ask the tier, as if its purges were known; seconds that it took."""
    replica.rules.current = True
    replica.clock.set(time.time(), time.monotonic(), time.monotonic())
    began = time.monotonic()
    assert await replica.tier.get("k") is None
    return time.monotonic() - began


@pytest.mark.parametrize("words", GARBAGE, ids=lambda words: repr(words[:12]))
async def test_a_server_that_talks_nonsense_costs_one_bounded_delay(words: bytes) -> None:
    async with answering(words) as url:
        replica = Replica(url, bound=BOUND_SECONDS)
        assert await use(replica) < 4 * BOUND_SECONDS
        with pytest.raises(FleetUnavailableError):
            await replica.stream.publish(Purge(everything=True))


async def test_after_one_delay_there_is_none(own_valkey: ValkeySite) -> None:
    replica = Replica(own_valkey.url, bound=BOUND_SECONDS)
    await use(replica)
    own_valkey.pause()
    first = await use(replica)
    others = [await use(replica) for _ in range(50)]
    own_valkey.resume()
    await close_clients()
    assert BOUND_SECONDS / 2 < first < 4 * BOUND_SECONDS
    assert sum(others) < BOUND_SECONDS


async def test_a_server_that_is_gone_costs_nothing() -> None:
    with refusing_port() as port:
        replica = Replica(f"redis://127.0.0.1:{port}/0")
        assert sum([await use(replica) for _ in range(50)]) < BOUND_SECONDS
        assert replica.guard.breaker.state is not State.CLOSED
    await close_clients()


async def test_a_server_that_comes_back_is_used_again(own_valkey: ValkeySite) -> None:
    async with joined(own_valkey.url) as replica:
        own_valkey.kill()
        await until(lambda: not replica.stream.following)
        assert await replica.tier.get("k") is None
        own_valkey.start()
        await until(lambda: replica.stream.following and not replica.guard.breaker.rests)
        assert await replica.tier.put("k", response(), replica.tier.mark)
        assert await replica.tier.get("k") is not None


async def test_a_server_that_was_paused_is_followed_again(own_valkey: ValkeySite) -> None:
    async with joined(own_valkey.url, bound=BOUND_SECONDS) as replica:
        before = replica.mistrusts
        own_valkey.pause()
        await until(lambda: not replica.stream.following)
        own_valkey.resume()
        await until(lambda: replica.stream.following)
        assert replica.mistrusts == before, "nothing was lost"


async def test_a_full_server_refuses_writes_and_goes_on_answering(own_valkey: ValkeySite) -> None:
    async with joined(own_valkey.url) as replica:
        assert await replica.tier.put("k", response(), replica.tier.mark)
        own_valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        own_valkey.command("CONFIG", "SET", "maxmemory", "1")
        assert not await replica.tier.put("other", response(), replica.tier.mark)
        assert replica.guard.breaker.state is State.CLOSED
        assert replica.guard.writes.rests
        assert await replica.tier.get("k") is not None
        with pytest.raises(FleetUnavailableError):
            await replica.stream.publish(Purge(keys=frozenset({"k"})))
        assert await replica.tier.get("k") is None, "it is not to be used until others know"
        own_valkey.command("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: replica.stream.waiting == 0)


async def test_no_secret_is_told_of_a_wrong_password(
    own_valkey: ValkeySite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "s3proxy")
    own_valkey.command("CONFIG", "SET", "requirepass", "r1ght")
    reasons: list[str] = []
    url = own_valkey.url.replace("//", "//:s3cret-wr0ng@")
    replica = Replica(url)
    replica.guard.breaker._on_change = lambda _state, reason: reasons.append(reason)
    await use(replica)
    with pytest.raises(FleetUnavailableError) as caught:
        await replica.stream.publish(Purge(everything=True))
    await close_clients()
    assert len(reasons) == 1
    assert "s3cret" not in caplog.text + str(caught.value) + repr(reasons)


async def test_a_call_that_is_given_up_does_not_block_the_next_probe(
    own_valkey: ValkeySite,
) -> None:
    replica = Replica(own_valkey.url)
    breaker = replica.guard.breaker
    breaker.failed("gone")
    await until(lambda: not breaker.rests)
    own_valkey.pause()
    probing = asyncio.create_task(use(replica))
    await until(lambda: breaker.state is State.HALF_OPEN)
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    own_valkey.resume()
    assert not breaker.rests
    await use(replica)
    assert breaker.state is State.CLOSED
    await close_clients()
