"""What a client may ask of the cache, CONTRACT section 3."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.gateway.subject import HOUR
from tests.origins import ScriptedOrigin, conditional, hold, respond, s3_error, sequence

if TYPE_CHECKING:
    from tests.gateway.subject import Clock, Proxy

ETAG = '"v1"'
V1 = conditional(b"one", ETAG)


@pytest.mark.parametrize(
    "line", ["Cache-Control: no-cache", "Pragma: no-cache", "Cache-Control: max-age=0"]
)
async def test_a_forced_reload_is_conditional(
    origin: ScriptedOrigin, proxy: Proxy, line: str
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    reply = await proxy.get("a", line)
    assert (reply.cache, reply.body) == ("REVALIDATED", b"one")
    assert reply.cache_status == ["fwd=request", "fwd-status=304", "stored"]
    assert origin.requests[1].header("If-None-Match") == ETAG


async def test_forced_reloads_collapse(origin: ScriptedOrigin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("a", sequence(V1, (hold(gate), V1)))
    await proxy.get("a")
    reloads = [proxy.begin("a", "Cache-Control: no-cache") for _ in range(20)]
    await origin.until_requests(2)
    gate.open()
    assert {reply.cache for reply in await asyncio.gather(*reloads)} == {"REVALIDATED"}
    assert origin.count() == 2


async def test_pragma_counts_only_without_cache_control(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    reply = await proxy.get("a", "Pragma: no-cache", "Cache-Control: max-age=60")
    assert reply.cache == "HIT"


@pytest.mark.parametrize(
    ("directive", "age", "cache"),
    [
        ("max-age=60", 60, "HIT"),
        ("max-age=60", 61, "REVALIDATED"),
        ("min-fresh=60", 240, "HIT"),
        ("min-fresh=60", 241, "REVALIDATED"),
        # Nothing stale for who bounds the age (RFC 9111 §5.2.1.1) or wants freshness left.
        ("max-age=1000", 310, "REVALIDATED"),
        ("min-fresh=0", 310, "REVALIDATED"),
        ("max-age=1000, max-stale=20", 310, "STALE"),
        ("max-stale=20", 321, "REVALIDATED"),
        ("max-stale=1000", 1300, "STALE"),
        ("max-stale=1000", 1301, "REVALIDATED"),
        ("max-stale", 10 * 3600, "STALE"),
        ("max-age=banana", 1, "REVALIDATED"),
        ("immutable", 1, "HIT"),
    ],
)
async def test_lifetimes_asked_for(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, directive: str, age: int, cache: str
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    clock.advance(age)
    reply = await proxy.get("a", f"Cache-Control: {directive}")
    assert (reply.cache, reply.body) == (cache, b"one")


async def test_no_store_does_not_store(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", V1)
    for _ in range(2):
        reply = await proxy.get("a", "Cache-Control: no-store")
        assert (reply.cache, reply.body) == ("MISS", b"one")
        assert "stored" not in reply.cache_status
        await proxy.idle()
    assert proxy.store.entries == 0


async def test_no_store_does_not_store_an_absence(origin: ScriptedOrigin, proxy: Proxy) -> None:
    for _ in range(2):
        assert (await proxy.get("a", "Cache-Control: no-store")).status == 404
    assert proxy.store.entries == 0
    assert origin.count() == 2


async def test_no_store_may_be_answered_from_what_is_stored(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    assert (await proxy.get("a", "Cache-Control: no-store")).cache == "HIT"


async def test_who_joins_a_no_store_request_gets_it_stored(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), V1)
    first = proxy.begin("a", "Cache-Control: no-store")
    await origin.until_requests(1)
    second = proxy.begin("a")
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, second)
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
    assert origin.count() == 1


async def test_only_if_cached(origin: ScriptedOrigin, proxy: Proxy, clock: Clock) -> None:
    wish = "Cache-Control: only-if-cached"
    origin.on("a", V1)
    miss = await proxy.get("a", wish)
    assert (miss.status, miss.cache_status) == (504, ["detail=only-if-cached"])
    assert origin.count() == 0
    await proxy.get("a")
    assert (await proxy.get("a", wish)).cache == "HIT"
    clock.advance(310)
    assert (await proxy.get("a", wish)).cache == "STALE"
    clock.advance(HOUR)
    assert (await proxy.get("a", wish)).status == 504
    assert (await proxy.get("a", f"{wish}, max-stale")).cache == "STALE"
    assert (await proxy.get("a", f"{wish}, no-cache")).status == 504
    assert origin.count() == 1


async def test_a_forced_reload_of_a_failing_origin_gets_what_is_stored(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", sequence(V1, s3_error(502, "BadGateway")))
    await proxy.get("a")
    reply = await proxy.get("a", "Cache-Control: no-cache")
    assert (reply.cache, reply.body) == ("STALE", b"one")
    assert reply.cache_status[:2] == ["fwd=request", "fwd-status=502"]


async def test_a_forced_reload_of_a_miss_is_a_miss(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"x"))
    assert (await proxy.get("a", "Cache-Control: no-cache")).cache == "MISS"
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
