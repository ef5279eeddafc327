"""What is one client's alone is neither stored nor shared: RFC 9111 §3, §3.5, §4."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, conditional, hold, respond

if TYPE_CHECKING:
    from tests.gateway.subject import Clock, Proxy

CREDENTIALS = "Authorization: Basic dTpw"


def saying(cache_control: str) -> dict[str, str]:
    return {"Cache-Control": cache_control} if cache_control else {}


@pytest.mark.parametrize(
    ("cache_control", "stored"),
    [
        ("", False),
        ("max-age=60", False),
        ("public", True),
        ("max-age=60, must-revalidate", True),
        ("s-maxage=60", True),
        ("public, private", False),
    ],
)
async def test_the_answer_to_credentials_is_stored_only_by_leave(
    origin: ScriptedOrigin, proxy: Proxy, cache_control: str, stored: bool
) -> None:
    origin.on("a", respond(body=b"x", headers=saying(cache_control)))
    first = await proxy.get("a", CREDENTIALS)
    assert (first.body, "stored" in first.cache_status) == (b"x", stored)
    await proxy.idle()
    assert (await proxy.get("a")).cache == ("HIT" if stored else "MISS")
    assert origin.requests[0].header("Authorization") != "Basic dTpw"


async def test_credentials_get_what_was_stored_for_anybody(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(body=b"x"))
    await proxy.get("a")
    await proxy.idle()
    assert (await proxy.get("a", CREDENTIALS)).cache == "HIT"


async def test_a_304_to_credentials_freshens_what_was_stored_for_anybody(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", conditional(b"x", '"v1"'))
    await proxy.get("a")
    clock.advance(10_000)
    assert (await proxy.get("a", CREDENTIALS)).cache == "REVALIDATED"
    assert (await proxy.get("a")).cache == "HIT"


async def test_an_absence_told_to_credentials_is_not_remembered(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    for _ in range(2):
        assert (await proxy.get("a", CREDENTIALS)).status == 404
    assert origin.count() == 2


async def collapsed(
    origin: ScriptedOrigin, proxy: Proxy, cache_control: str, first: tuple[str, ...]
) -> int:
    """How many requests reach the origin for one and four more that join it."""
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=b"x", headers=saying(cache_control)))
    leader = proxy.begin("a", *first)
    await origin.until_requests(1)
    followers = [proxy.begin("a") for _ in range(4)]
    await asyncio.sleep(0)
    gate.open()
    for reply in await asyncio.gather(leader, *followers):
        assert (reply.status, reply.body) == (200, b"x")
    await proxy.idle()
    return origin.count()


@pytest.mark.parametrize(
    ("cache_control", "requests"),
    [("", 1), ("no-cache", 1), ("max-age=0", 1), ("private", 5), ("no-store", 5)],
)
async def test_requests_collapse_if_the_response_may_be_stored(
    origin: ScriptedOrigin, proxy: Proxy, cache_control: str, requests: int
) -> None:
    assert await collapsed(origin, proxy, cache_control, ()) == requests


@pytest.mark.parametrize(("cache_control", "requests"), [("", 2), ("private", 5), ("public", 1)])
async def test_requests_collapse_with_credentials_only_by_leave(
    origin: ScriptedOrigin, proxy: Proxy, cache_control: str, requests: int
) -> None:
    assert await collapsed(origin, proxy, cache_control, (CREDENTIALS,)) == requests


async def test_a_background_validation_bears_no_credentials(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"x"))
    await proxy.get("a")
    await proxy.idle()
    clock.advance(310)
    assert (await proxy.get("a", CREDENTIALS)).cache == "STALE"
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
