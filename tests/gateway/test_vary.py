"""A stored response answers the requests that its Vary lets it answer: RFC 9111 §4.1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.core.messages import READ_FIELDS, Request
from proxy.server.fast_door import FastDoor, Unanswered
from tests.origins import (
    ScriptedOrigin,
    close_before_reply,
    conditional,
    hold,
    respond,
    s3_error,
    sequence,
)

if TYPE_CHECKING:
    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy

ETAG = '"v1"'
VARY = {"Vary": "Accept-Language", "Cache-Control": "max-age=100"}
DE, EN = "Accept-Language: de", "Accept-Language: en"


async def test_a_request_with_the_same_fields_is_a_hit(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(body=b"x", headers=VARY))
    await proxy.get("a", DE)
    await proxy.idle()
    reply = await proxy.get("a", DE, "User-Agent: another")
    assert (reply.cache, reply.body) == ("HIT", b"x")
    assert "vary" not in reply.headers


@pytest.mark.parametrize("lines", [(EN,), (), (DE, EN)], ids=["other", "missing", "more"])
async def test_a_request_with_other_fields_is_validated(
    origin: ScriptedOrigin, proxy: Proxy, lines: tuple[str, ...]
) -> None:
    origin.on("a", conditional(b"x", ETAG, headers=VARY))
    await proxy.get("a", DE)
    await proxy.idle()
    reply = await proxy.get("a", *lines)
    assert (reply.cache, reply.body) == ("REVALIDATED", b"x")
    assert reply.cache_status == ["fwd=vary-miss", "fwd-status=304", "stored"]
    assert origin.requests[1].header("If-None-Match") == ETAG
    assert origin.requests[1].header("Accept-Language") is None
    # Both were given the same representation, by its strong validator.
    assert (await proxy.get("a", *lines)).cache == "HIT"
    assert (await proxy.get("a", DE)).cache == "HIT"


async def test_a_response_without_a_validator_is_fetched_anew(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", sequence(*(respond(body=text, headers=VARY) for text in (b"de", b"en", b"3"))))
    for line, cache, body in (
        (DE, "MISS", b"de"),
        (EN, "MISS", b"en"),
        (EN, "HIT", b"en"),
        (DE, "MISS", b"3"),
    ):
        reply = await proxy.get("a", line)
        assert (reply.cache, reply.body) == (cache, body)
        assert cache == "HIT" or "stored" in reply.cache_status
        await proxy.idle()


@pytest.mark.parametrize("vary", ["*", "Accept-Language, *"])
async def test_a_star_is_always_validated(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, vary: str
) -> None:
    origin.on("a", conditional(b"x", ETAG, headers={"Vary": vary}))
    await proxy.get("a", DE)
    for _ in range(2):
        await proxy.idle()
        clock.advance(1)
        reply = await proxy.get("a", DE)
        assert (reply.cache, reply.cache_status[0]) == ("REVALIDATED", "fwd=vary-miss")


async def test_a_304_that_does_not_repeat_vary_changes_nothing_about_it(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    star = respond(body=b"x", headers={"ETag": ETAG, "Vary": "*"})
    origin.on("a", sequence(star, respond(304, headers={"ETag": ETAG})))
    await proxy.get("a")
    for _ in range(3):
        await proxy.idle()
        assert (await proxy.get("a")).cache == "REVALIDATED"


async def test_only_if_cached_of_another_variant_is_refused(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(body=b"x", headers=VARY))
    await proxy.get("a", DE)
    assert (await proxy.get("a", EN, "Cache-Control: only-if-cached")).status == 504
    assert (await proxy.get("a", DE, "Cache-Control: only-if-cached")).cache == "HIT"


async def test_another_variant_is_neither_sent_stale_nor_in_place_of_an_error(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", sequence(conditional(b"x", ETAG, headers=VARY), close_before_reply()))
    await proxy.get("a", DE)
    clock.advance(101)
    assert (await proxy.get("a", EN)).status == 502
    stale = await proxy.get("a", DE)
    assert (stale.cache, stale.body) == ("STALE", b"x")


async def test_an_absence_varies_too(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", s3_error(404, "NoSuchKey", headers=VARY))
    for line, cache in ((DE, "MISS"), (DE, "HIT"), (EN, "MISS")):
        reply = await proxy.get("a", line)
        assert (reply.status, reply.cache) == (404, cache)


async def test_whoever_joined_with_other_fields_asks_for_itself(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), conditional(b"x", ETAG, headers=VARY))
    same = [proxy.begin("a", DE) for _ in range(3)]
    await origin.until_requests(1)
    other = proxy.begin("a", EN)
    await asyncio.sleep(0)
    gate.open()
    replies = await asyncio.gather(*same, other)
    assert {reply.body for reply in replies} == {b"x"}
    assert [("collapsed" in reply.cache_status) for reply in replies] == [False, True, True, False]
    await proxy.idle()
    assert origin.count() == 2


async def test_a_validation_joined_with_other_fields_is_followed_by_another(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    gate = origin.gate()
    found = conditional(b"x", ETAG, headers=VARY)
    origin.on("a", sequence(found, (hold(gate), found), found))
    await proxy.get("a", DE)
    clock.advance(10_000)
    first = proxy.begin("a", DE)
    await origin.until_requests(2)
    second = proxy.begin("a", EN)
    await asyncio.sleep(0)
    gate.open()
    replies = await asyncio.gather(first, second)
    assert [reply.cache for reply in replies] == ["REVALIDATED", "REVALIDATED"]
    assert [request.header("If-None-Match") for request in origin.requests] == [None, ETAG, ETAG]


async def test_the_door_to_memory_leaves_a_response_with_vary_to_the_application(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("plain", respond(body=b"x"))
    origin.on("varies", respond(body=b"x", headers=VARY))
    door = FastDoor(proxy.gateway, "")
    assert b"accept-language" not in READ_FIELDS
    for key in ("plain", "varies"):
        await proxy.get(key)
        await proxy.idle()
        # It sees none of the fields that Vary names: all requests look alike to it.
        found = door.answer(b"GET", b"/" + key.encode(), [(b"host", b"h")], [(b"host", b"h")])
        assert isinstance(found, Unanswered) is (key != "plain")
        recalled = proxy.gateway.memory.recall(Request.from_fields("GET", key, ()))
        assert (recalled is not None) is (key == "plain")
