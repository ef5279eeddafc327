"""Whose word on lifetimes counts, from the origin's header to the client's answer."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, close_before_reply, conditional, respond

if TYPE_CHECKING:
    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy

NOW = 1_700_000_000.0
ETAG = '"v1"'


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        ({}, 300),
        ({"Cache-Control": "max-age=10"}, 10),
        ({"Cache-Control": "max-age=10, s-maxage=20"}, 20),
        ({"Cache-Control": "s-maxage=20", "Expires": date(30)}, 20),
        ({"Cache-Control": "max-age=10", "Expires": date(30)}, 10),
        ({"Expires": date(30)}, 30),
        ({"Expires": date(30), "Date": date(0)}, 30),
        ({"Cache-Control": "public", "Expires": date(30)}, 30),
        ({"Cache-Control": "max-age=100", "Age": "40"}, 60),
        ({"Cache-Control": "max-age=100", "Date": date(-30)}, 70),
        ({"Cache-Control": "max-age=10, max-age=99"}, 10),
    ],
)
async def test_lifetime(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, fields: dict[str, str], lifetime: int
) -> None:
    origin.on("a", respond(body=b"x", headers=fields))
    await proxy.get("a")
    clock.advance(lifetime - 1)
    assert (await proxy.get("a")).cache == "HIT"
    clock.advance(1)
    assert (await proxy.get("a")).cache != "HIT"


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=0"},
        {"Cache-Control": "s-maxage=0, max-age=100"},
        {"Cache-Control": "max-age=banana"},
        {"Cache-Control": "no-cache, max-age=100"},
        {"Expires": "0"},
        {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
    ids=lambda fields: ", ".join(fields.values()),
)
async def test_stored_but_validated_on_every_use(
    origin: ScriptedOrigin, proxy: Proxy, fields: dict[str, str]
) -> None:
    origin.on("a", conditional(b"x", ETAG, headers=fields))
    await proxy.get("a")
    for _ in range(2):
        reply = await proxy.get("a")
        assert (reply.cache, reply.body) == ("REVALIDATED", b"x")
    assert [request.header("If-None-Match") for request in origin.requests] == [None, ETAG, ETAG]


async def test_a_cache_ttl_of_nothing_validates_on_every_use(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(ttl=0.0)
    origin.on("a", conditional(b"x", ETAG))
    await proxy.get("a")
    for _ in range(2):
        assert (await proxy.get("a")).cache == "REVALIDATED"


@pytest.mark.parametrize("word", ["no-store", "private", "PRIVATE", 'private="x"', "no-store=1"])
async def test_not_stored(origin: ScriptedOrigin, proxy: Proxy, word: str) -> None:
    origin.on("a", respond(body=b"x", headers={"Cache-Control": f"max-age=60, {word}"}))
    for _ in range(2):
        reply = await proxy.get("a")
        assert (reply.cache, reply.body) == ("MISS", b"x")
        assert "stored" not in reply.cache_status
        await proxy.idle()
    assert origin.count() == 2
    assert proxy.store.entries == 0


@pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=10"])
async def test_never_stale_not_even_when_the_origin_fails(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock, word: str
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", conditional(b"x", ETAG, headers={"Cache-Control": f"max-age=10, {word}"}))
    await proxy.get("a")
    clock.advance(10)
    assert (await proxy.get("a")).cache == "REVALIDATED"
    clock.advance(10)
    origin.on("a", close_before_reply())
    assert (await proxy.get("a")).status == 502
    assert (await proxy.get("a", "Cache-Control: max-stale")).status == 502


async def test_own_stale_while_revalidate_replaces_the_configured_one(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    for key, window in (("shorter", 5), ("longer", 1000), ("none", 0)):
        value = f"max-age=10, stale-while-revalidate={window}"
        origin.on(key, conditional(b"x", ETAG, headers={"Cache-Control": value}))
        await proxy.get(key)
        clock.advance(10)
        if window:
            clock.advance(window - 1)
            assert (await proxy.get(key)).cache == "STALE"
            await proxy.idle()
            clock.advance(11 + window - 1)
        assert (await proxy.get(key)).cache == "REVALIDATED"


async def test_own_stale_if_error_replaces_the_configured_one(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(retries=0, swr=0.0)
    value = "max-age=10, stale-if-error={}"
    for key, window in (("shorter", 5), ("longer", 36_000), ("none", 0)):
        origin.on(key, respond(body=b"x", headers={"Cache-Control": value.format(window)}))
        await proxy.get(key)
    for key in ("shorter", "longer", "none"):
        origin.on(key, close_before_reply())
    clock.advance(10)
    assert (await proxy.get("none")).status == 502
    clock.advance(4)
    assert (await proxy.get("shorter")).cache == "STALE"
    clock.advance(1)
    assert (await proxy.get("shorter")).status == 502
    clock.advance(36_000 - 6)
    assert (await proxy.get("longer")).cache == "STALE"


async def test_s_maxage_switches_the_configured_windows_off_not_the_objects_own(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(retries=0)
    own = "s-maxage=10, stale-while-revalidate=20, stale-if-error=30"
    origin.on("own", conditional(b"x", ETAG, headers={"Cache-Control": own}))
    origin.on("bare", conditional(b"x", ETAG, headers={"Cache-Control": "s-maxage=10"}))
    await proxy.get("own")
    await proxy.get("bare")
    for key in ("own", "bare"):
        origin.on(key, close_before_reply())
    clock.advance(29)
    assert (await proxy.get("own")).cache_status == ["hit", "ttl=-19"]
    await proxy.idle()
    assert (await proxy.get("bare")).status == 502
    clock.advance(10)
    assert (await proxy.get("own")).cache == "STALE"
    clock.advance(1)
    assert (await proxy.get("own")).status == 502


async def test_the_clock_of_the_origin_behind_ours_does_not_make_it_younger(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    # Expires counts from the origin's own Date (RFC 9111 §4.2.1), Age from ours (§4.2.3).
    fields = {"Date": date(-20), "Expires": date(10)}
    origin.on("a", respond(body=b"x", headers=fields))
    assert (await proxy.get("a")).headers["age"] == "20"
    clock.advance(9)
    assert (await proxy.get("a")).cache == "HIT"
    clock.advance(1)
    assert (await proxy.get("a")).cache == "STALE"
