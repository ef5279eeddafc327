"""A purge holds: neither what is stored nor what is being fetched outlives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.purge import Purge
from tests.gateway.subject import HOUR
from tests.origins import ScriptedOrigin, conditional, drip, hold, respond, s3_error, sequence

if TYPE_CHECKING:
    from tests.gateway.subject import Clock, Proxy

V1, V2 = conditional(b"one", '"v1"'), conditional(b"two!", '"v2"')
both = pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])


async def test_a_purged_object_is_fetched_anew(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    origin.on("a", V2)
    assert await proxy.purge("a", "never-seen") == 1
    reply = await proxy.get("a")
    assert (reply.cache, reply.body) == ("MISS", b"two!")
    assert origin.requests[1].header("If-None-Match") is None


async def test_a_soft_purged_object_is_stale_at_once_and_revalidated(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    clock.advance(10)
    assert await proxy.purge("a", soft=True) == 1
    stale = await proxy.get("a")
    assert (stale.cache, stale.body) == ("STALE", b"one")
    await proxy.idle()
    assert origin.requests[1].header("If-None-Match") == '"v1"'
    assert (await proxy.get("a")).cache == "HIT"


async def test_a_soft_purge_does_not_make_a_stale_response_younger(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", V1)
    await proxy.get("a")
    clock.advance(HOUR)
    await proxy.purge("a", soft=True)
    assert (await proxy.get("a")).cache == "REVALIDATED"


async def test_prefixes_and_everything(origin: ScriptedOrigin, proxy: Proxy) -> None:
    keys = ("img/a", "img/b", "css/a")
    origin.default(respond(body=b"x"))
    for key in keys:
        await proxy.get(key)
    assert (await proxy.gateway.purge(Purge(prefixes=("img/",)))).responses == 2
    assert [(await proxy.get(key)).cache for key in keys] == ["MISS", "MISS", "HIT"]
    await proxy.idle()
    assert (await proxy.gateway.purge(Purge(everything=True))).responses == 3
    assert [(await proxy.get(key)).cache for key in keys] == ["MISS", "MISS", "MISS"]


@both
async def test_a_purge_is_not_undone_by_a_fetch_in_flight(
    origin: ScriptedOrigin, proxy: Proxy, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence((hold(gate), V1), V2))
    before = proxy.begin("a")
    await origin.until_requests(1)
    await proxy.purge("a", soft=soft)
    gate.open()
    assert (await before).body == b"one"
    await proxy.idle()
    after = await proxy.get("a")
    assert (after.cache, after.body) == ("MISS", b"two!")


@both
async def test_a_purge_is_not_undone_by_a_body_on_its_way(
    origin: ScriptedOrigin, proxy: Proxy, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(drip(b"one", gate=gate), V2))
    gate.admit()
    before = await proxy.open("a")
    await before.read(1)
    await proxy.purge("a", soft=soft)
    gate.open()
    assert (await before.rest()).body == b"one"
    await proxy.idle()
    assert (await proxy.get("a")).body == b"two!"


@both
async def test_a_purge_is_not_undone_by_a_revalidation_in_flight(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(V1, (hold(gate), V1), V2))
    await proxy.get("a")
    clock.advance(301)
    assert (await proxy.get("a")).cache == "STALE"
    await origin.until_requests(2)
    await proxy.purge("a", soft=soft)
    gate.open()
    await proxy.idle()
    reply = await proxy.get("a")
    assert reply.cache != "HIT"
    await proxy.idle()
    assert (await proxy.get("a")).body == b"two!"


@both
async def test_a_request_after_the_purge_does_not_join_a_fetch_from_before(
    origin: ScriptedOrigin, proxy: Proxy, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence((hold(gate), V1), V2))
    before = proxy.begin("a")
    await origin.until_requests(1)
    await proxy.purge("a", soft=soft)
    assert (await proxy.get("a")).body == b"two!"
    gate.open()
    assert (await before).body == b"one"
    await proxy.idle()
    # The older answer came later, and must not take the newer one's place.
    hit = await proxy.get("a")
    assert (hit.cache, hit.body) == ("HIT", b"two!")


@both
async def test_an_older_revalidation_does_not_replace_what_was_fetched_after_the_purge(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(V1, (hold(gate), V1), V2))
    await proxy.get("a")
    clock.advance(HOUR)
    before = proxy.begin("a")
    await origin.until_requests(2)
    await proxy.purge("a", soft=soft)
    assert (await proxy.get("a")).body == b"two!"
    gate.open()
    # Its 304 speaks of what was purged, so that it asked once more.
    assert (await before).body == b"two!"
    hit = await proxy.get("a")
    assert (hit.cache, hit.body) == ("HIT", b"two!")


@both
async def test_an_absence_in_flight_is_not_remembered_past_a_purge(
    origin: ScriptedOrigin, proxy: Proxy, soft: bool
) -> None:
    gate = origin.gate()
    origin.on("a", sequence((hold(gate), s3_error(404, "NoSuchKey")), V1))
    before = proxy.begin("a")
    await origin.until_requests(1)
    await proxy.purge("a", soft=soft)
    gate.open()
    assert (await before).status == 404
    assert (await proxy.get("a")).body == b"one"


async def test_a_remembered_absence_is_purged(origin: ScriptedOrigin, proxy: Proxy) -> None:
    assert (await proxy.get("a")).status == 404
    origin.on("a", V1)
    assert await proxy.purge("a") == 1
    assert (await proxy.get("a")).body == b"one"


async def test_a_hard_purge_leaves_nothing_to_stand_in_for_a_failing_origin(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(V1, (hold(gate), s3_error(502, "BadGateway"))))
    await proxy.get("a")
    clock.advance(1000)
    waiting = proxy.begin("a")
    await origin.until_requests(2)
    await proxy.purge("a")
    gate.open()
    assert (await waiting).status == 502


async def test_a_purge_of_another_key_leaves_a_fetch_alone(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), V1)
    waiting = proxy.begin("a")
    await origin.until_requests(1)
    await proxy.gateway.purge(Purge(keys=frozenset({"b"}), prefixes=("aa", "b")))
    gate.open()
    await waiting
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"


@pytest.mark.parametrize("soft", [False, True])
async def test_a_purge_of_many_keys_lets_others_have_their_turn(proxy: Proxy, soft: bool) -> None:
    keys = frozenset(f"key{number}" for number in range(5000))
    purging = asyncio.create_task(proxy.gateway.purge(Purge(keys, soft=soft)))
    turns = 0
    while not purging.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 10
    assert (await purging).responses == 0
