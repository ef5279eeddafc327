"""Collapsed forwarding: one origin request for any number of simultaneous ones."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from proxy.arrival import Arrival
from tests.gateway.subject import MINUTE
from tests.origins import ScriptedOrigin, conditional, drip, hold, respond, s3_error, sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy, Reply
    from tests.origins import Gate

ETAG = '"v1"'
BODY = bytes(range(256)) * 40


def crowd(proxy: Proxy, *, method: str = "GET", size: int = 50) -> list[asyncio.Task[Reply]]:
    return [proxy.begin("a", method=method) for _ in range(size)]


async def crowd_answers(origin: ScriptedOrigin, proxy: Proxy, gate: Gate) -> list[Reply]:
    """What a crowd gets; ``gate`` opens once the origin has been asked."""
    requests = origin.count()
    asked = crowd(proxy)
    await origin.until_requests(requests + 1)
    gate.open()
    return await asyncio.gather(*asked)


async def test_50_simultaneous_misses_make_1_origin_get(
    origin: ScriptedOrigin, proxy: Proxy, count: Callable[..., float]
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=BODY))
    replies = await crowd_answers(origin, proxy, gate)
    assert {reply.body for reply in replies} == {BODY}
    assert sum("collapsed" in reply.cache_status for reply in replies) == 49
    assert {reply.cache for reply in replies} == {"MISS"}
    assert origin.count() == 1
    assert count("proxy_collapsed_requests_total") == 49


async def test_head_and_get_collapse(origin: ScriptedOrigin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=BODY))
    heads = crowd(proxy, method="HEAD", size=25)
    gets = crowd(proxy, size=25)
    await origin.until_requests(1)
    gate.open()
    for reply in await asyncio.gather(*heads):
        assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "10240")
    assert {reply.body for reply in await asyncio.gather(*gets)} == {BODY}
    assert [request.method for request in origin.requests] == ["GET"]


async def test_an_expired_key_is_revalidated_once(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(conditional(BODY, ETAG), (hold(gate), conditional(BODY, ETAG))))
    await proxy.get("a")
    clock.advance(60 * MINUTE)
    replies = await crowd_answers(origin, proxy, gate)
    assert {(reply.cache, reply.body) for reply in replies} == {("REVALIDATED", BODY)}
    assert origin.count() == 2


async def test_an_expired_key_that_changed_is_fetched_once(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(conditional(BODY, ETAG), (hold(gate), conditional(b"new", '"v2"'))))
    await proxy.get("a")
    clock.advance(60 * MINUTE)
    replies = await crowd_answers(origin, proxy, gate)
    assert {reply.body for reply in replies} == {b"new"}
    assert origin.count() == 2


async def test_ranges_and_whole_requests_collapse(origin: ScriptedOrigin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), conditional(BODY, ETAG))
    parts = [proxy.begin("a", f"Range: bytes={n * 100}-{n * 100 + 99}") for n in range(25)]
    wholes = crowd(proxy, size=25)
    await origin.until_requests(1)
    gate.open()
    for n, reply in enumerate(await asyncio.gather(*parts)):
        assert (reply.status, reply.body) == (206, BODY[n * 100 : n * 100 + 100])
    assert {reply.body for reply in await asyncio.gather(*wholes)} == {BODY}
    assert [request.header("Range") for request in origin.requests] == [None]


async def test_misses_of_an_absent_object_collapse(origin: ScriptedOrigin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), s3_error(404, "NoSuchKey"))
    replies = await crowd_answers(origin, proxy, gate)
    assert {reply.status for reply in replies} == {404}
    assert origin.count() == 1


async def test_a_failure_is_shared_too(origin: ScriptedOrigin, new_proxy: NewProxy) -> None:
    proxy = await new_proxy(retries=0)
    gate = origin.gate()
    origin.on("a", hold(gate), s3_error(503, "SlowDown"))
    replies = await crowd_answers(origin, proxy, gate)
    assert {reply.status for reply in replies} == {503}
    assert origin.count() == 1
    origin.on("a", respond(body=b"better"))
    assert (await proxy.get("a")).body == b"better"


async def test_different_keys_do_not_wait_for_each_other(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("slow", hold(gate), respond(body=b"slow"))
    origin.on("quick", respond(body=b"quick"))
    slow = proxy.begin("slow")
    await origin.until_requests(1)
    assert (await proxy.get("quick")).body == b"quick"
    gate.open()
    assert (await slow).body == b"slow"


async def test_first_bytes_reach_the_client_before_the_last_have_left_the_origin(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(b"abcdefghij", piece=2, gate=gate))
    gate.admit(1)
    reader = await proxy.open("a")
    follower = await proxy.open("a")
    assert await reader.read(1) == b"ab"
    assert await follower.read(1) == b"ab"
    gate.admit(1)
    assert await follower.read(3) == b"abcd"
    gate.open()
    for each in (reader, follower):
        assert (await each.rest()).body == b"abcdefghij"
    assert origin.count() == 1


async def test_a_follower_that_comes_late_gets_all_from_the_start(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(b"abcdefghij", piece=2, gate=gate))
    leader = proxy.begin("a")
    gate.admit(4)
    await proxy.until(lambda: len(proxy.gateway._fetcher.flights) == 1)
    late = proxy.begin("a")
    gate.open()
    assert (await late).body == b"abcdefghij"
    assert (await leader).body == b"abcdefghij"


async def test_a_leader_that_is_cancelled_before_the_head_takes_nobody_down(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=BODY))
    leader = proxy.begin("a")
    await origin.until_requests(1)
    followers = crowd(proxy, size=5)
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    gate.open()
    assert {reply.body for reply in await asyncio.gather(*followers)} == {BODY}
    assert origin.count() == 1


async def test_a_leader_that_disconnects_in_the_body_takes_nobody_down(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(b"abcdef", piece=2, gate=gate))
    gate.admit(1)
    leader = await proxy.open("a")
    follower = await proxy.open("a")
    assert await leader.read(1) == b"ab"
    leader.close()
    gate.open()
    assert (await follower.rest()).body == b"abcdef"
    assert origin.count() == 1


async def test_an_object_is_stored_even_if_all_who_asked_left(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(b"abcdef", piece=2, gate=gate))
    gate.admit(1)
    leader = await proxy.open("a")
    leader.close()
    gate.open()
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"


async def test_a_gateway_that_closes_lets_nobody_wait_for_ever(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", hold(origin.gate()), respond(body=b"never"))
    waiting = proxy.begin("a")
    await origin.until_requests(1)
    await proxy.gateway.aclose()
    assert (await asyncio.wait_for(waiting, 5)).status == 502


async def test_a_defect_in_a_flight_is_raised_to_all_and_logged(
    origin: ScriptedOrigin,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(proxy.s3, "get", broken)
    for request in crowd(proxy, size=3):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(request, 5)
    assert any(record.exc_info for record in caplog.records)
    assert len(proxy.gateway._fetcher.flights) == 0


@pytest.mark.parametrize("size", [1000, 3_000_000], ids=["stored", "too large"])
async def test_a_body_that_has_arrived_is_not_kept_by_what_brought_it(
    origin: ScriptedOrigin, new_proxy: NewProxy, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    arrivals: list[ref[Arrival]] = []

    class Watched(Arrival):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            arrivals.append(ref(self))

    monkeypatch.setattr("proxy.fetcher.Arrival", Watched)
    proxy = await new_proxy(max_object_size=1_000_000)
    origin.on("a", respond(body=b"x" * size))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await proxy.purge("a")
            assert len((await proxy.get("a")).body) == size
            await proxy.idle()
        # Whatever the event loop still holds of the last wake-up goes first.
        await asyncio.sleep(0)
        assert [arrival() for arrival in arrivals[:2]] == [None, None]
    finally:
        gc.enable()
