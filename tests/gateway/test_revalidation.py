"""What happens to a stored response that is no longer fresh, CONTRACT section 3."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.gateway.subject import HOUR, MINUTE
from tests.origins import (
    Answer,
    RecordedRequest,
    ScriptedOrigin,
    conditional,
    hold,
    per_request,
    respond,
    s3_error,
    sequence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy

V1, V2 = '"v1"', '"v2"'
MODIFIED = "Tue, 01 Oct 2024 10:00:00 GMT"
FRESH = 5 * MINUTE
PAST_SWR = FRESH + 2 * MINUTE
PAST_SIE = FRESH + HOUR


def v1(**headers: str) -> Answer:
    return respond(body=b"one", headers={"ETag": V1} | headers)


def v2(**headers: str) -> Answer:
    return respond(body=b"two!", headers={"ETag": V2} | headers)


def unchanged(**headers: str) -> Answer:
    return respond(304, headers={"ETag": V1} | headers)


async def test_fresh_until_the_last_moment_of_its_lifetime(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", v1())
    await proxy.get("a")
    clock.advance(FRESH - 0.001)
    assert (await proxy.get("a")).cache == "HIT"
    clock.advance(0.001)
    assert (await proxy.get("a")).cache == "STALE"


async def test_inside_the_window_stale_at_once_and_one_background_revalidation(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, count: Callable[..., float]
) -> None:
    gate = origin.gate()
    origin.on("a", sequence(v1(), (hold(gate), unchanged())))
    await proxy.get("a")
    clock.advance(PAST_SWR - 1)
    for _ in range(5):
        # The origin is silent, so this was not answered by it.
        stale = await proxy.get("a")
        assert (stale.cache, stale.body) == ("STALE", b"one")
        assert stale.cache_status == ["hit", "ttl=-119"]
    await origin.until_requests(2)
    gate.open()
    await proxy.idle()
    assert origin.count() == 2
    assert origin.requests[1].header("If-None-Match") == V1
    hit = await proxy.get("a")
    assert (hit.cache, hit.headers["age"]) == ("HIT", "0")
    assert count("proxy_cache_stale_total") == 5
    assert count("proxy_revalidations_total", outcome="not_modified") == 1


async def test_past_the_window_it_validates_first(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, count: Callable[..., float]
) -> None:
    origin.on("a", sequence(v1(), unchanged()))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    reply = await proxy.get("a")
    assert (reply.cache, reply.body) == ("REVALIDATED", b"one")
    assert reply.cache_status == ["fwd=stale", "fwd-status=304", "stored"]
    assert (await proxy.get("a")).cache == "HIT"
    assert count("proxy_cache_revalidated_total") == 1


async def test_past_the_window_a_200_replaces(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, count: Callable[..., float]
) -> None:
    origin.on("a", sequence(v1(), v2()))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    reply = await proxy.get("a")
    assert (reply.cache, reply.body, reply.headers["etag"]) == ("MISS", b"two!", V2)
    assert reply.cache_status == ["fwd=stale", "fwd-status=200", "stored"]
    await proxy.idle()
    assert (await proxy.get("a")).body == b"two!"
    assert origin.count() == 2
    assert count("proxy_revalidations_total", outcome="replaced") == 1


async def test_a_background_revalidation_replaces_too(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", sequence(v1(), v2()))
    await proxy.get("a")
    clock.advance(FRESH)
    assert (await proxy.get("a")).body == b"one"
    await proxy.idle()
    hit = await proxy.get("a")
    assert (hit.cache, hit.body) == ("HIT", b"two!")


async def test_revalidation_uses_the_stored_validators_never_the_clients(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", conditional(b"one", V1, MODIFIED))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    theirs = [
        'If-None-Match: "theirs"',
        "If-Modified-Since: Tue, 01 Oct 2030 10:00:00 GMT",
        'If-Match: "theirs"',
        "If-Unmodified-Since: Tue, 01 Oct 2030 10:00:00 GMT",
        "Range: bytes=1-1",
        'If-Range: "theirs"',
    ]
    assert (await proxy.get("a", *theirs)).status == 412
    asked = origin.requests[1]
    assert asked.header("If-None-Match") == V1
    assert asked.header("If-Modified-Since") == MODIFIED
    for name in ("If-Match", "If-Unmodified-Since", "Range", "If-Range"):
        assert asked.header(name) is None


async def test_a_client_with_another_version_gets_the_whole_after_a_304(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", conditional(b"one", V1))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    reply = await proxy.get("a", 'If-None-Match: "theirs"')
    assert (reply.status, reply.cache, reply.body) == (200, "REVALIDATED", b"one")


async def test_a_client_with_the_stored_version_gets_304_after_a_304(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", conditional(b"one", V1))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    reply = await proxy.get("a", f"If-None-Match: {V1}")
    assert (reply.status, reply.cache) == (304, "REVALIDATED")


async def test_a_response_without_validators_is_fetched_anew(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"one"))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    assert (await proxy.get("a")).cache == "MISS"
    assert origin.requests[1].header("If-None-Match") is None
    assert origin.requests[1].header("If-Modified-Since") is None


async def test_a_304_freshens_stored_headers_and_lifetime(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    fields = {"Cache-Control": "max-age=10", "Content-Type": "text/plain", "x-amz-meta-a": "1"}
    renewed = {"Cache-Control": "max-age=1000", "x-amz-meta-a": "2"}
    origin.on("a", sequence(v1(**fields), unchanged(**renewed)))
    await proxy.get("a")
    clock.advance(500)
    assert (await proxy.get("a")).headers["cache-control"] == "max-age=1000"
    clock.advance(999)
    hit = await proxy.get("a")
    assert (hit.cache, hit.headers["age"], hit.body) == ("HIT", "999", b"one")
    assert hit.headers["cache-control"] == "max-age=1000"
    assert hit.headers["x-amz-meta-a"] == "2"
    assert hit.headers["content-type"] == "text/plain"
    assert hit.headers["content-length"] == "3"


async def test_a_304_of_another_version_freshens_nothing(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    # RFC 9111 §4.3.4: a 304 with another strong validator is not about what is stored.
    odd = respond(304, headers={"ETag": V2})
    origin.on("a", sequence(v1(), odd, v2()))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    reply = await proxy.get("a")
    assert (reply.status, reply.body, reply.headers["etag"]) == (200, b"two!", V2)
    assert origin.requests[2].header("If-None-Match") is None


@pytest.mark.parametrize("word", ["no-store", "private"])
async def test_an_object_that_turned_no_store_is_not_served_on(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, word: str
) -> None:
    origin.on("a", sequence(v1(), v2(**{"Cache-Control": word})))
    await proxy.get("a")
    clock.advance(FRESH)
    assert (await proxy.get("a")).cache == "STALE"
    await proxy.idle()
    for _ in range(2):
        reply = await proxy.get("a")
        assert (reply.cache, reply.body) == ("MISS", b"two!")
        assert "stored" not in reply.cache_status


async def test_a_304_that_says_no_store_removes(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", sequence(v1(), unchanged(**{"Cache-Control": "no-store"}), v2()))
    await proxy.get("a")
    clock.advance(PAST_SWR)
    assert (await proxy.get("a")).body == b"one"
    assert (await proxy.get("a")).body == b"two!"


@pytest.mark.parametrize(
    ("gone", "status"),
    [
        (s3_error(404, "NoSuchKey"), 404),
        (respond(404), 404),
        (respond(410), 410),
        (s3_error(403, "AccessDenied"), 404),
    ],
    ids=["NoSuchKey", "404", "410", "AccessDenied"],
)
@pytest.mark.parametrize("age", [FRESH, PAST_SWR], ids=["background", "waiting"])
async def test_a_deleted_object_is_not_served_on(
    origin: ScriptedOrigin,
    proxy: Proxy,
    clock: Clock,
    count: Callable[..., float],
    gone: Answer,
    status: int,
    age: float,
) -> None:
    origin.on("a", sequence(v1(), gone))
    await proxy.get("a")
    clock.advance(age)
    await proxy.get("a")
    await proxy.idle()
    reply = await proxy.get("a")
    assert reply.status == status
    assert reply.body != b"one"
    assert count("proxy_revalidations_total", outcome="removed") == 1


async def test_other_errors_keep_the_old_one_and_are_counted_and_logged(
    origin: ScriptedOrigin,
    new_proxy: NewProxy,
    clock: Clock,
    count: Callable[..., float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", sequence(v1(), s3_error(500, "InternalError"), unchanged()))
    await proxy.get("a")
    clock.advance(FRESH)
    assert (await proxy.get("a")).cache == "STALE"
    await proxy.idle()
    assert count("proxy_revalidations_total", outcome="failed") == 1
    assert [record.levelno for record in caplog.records if record.name == "s3proxy.origin"] == [
        logging.ERROR
    ]
    assert (await proxy.get("a")).body == b"one"


async def test_a_failed_background_revalidation_is_tried_again_after_a_rest(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", sequence(v1(), s3_error(500, "InternalError"), unchanged()))
    await proxy.get("a")
    clock.advance(FRESH)
    for _ in range(5):
        assert (await proxy.get("a")).cache == "STALE"
        await proxy.idle()
    assert origin.count() == 2
    clock.advance(1.0)
    assert (await proxy.get("a")).cache == "STALE"
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
    assert origin.count() == 3


async def test_an_absence_is_remembered_for_the_negative_ttl(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    first = await proxy.get("missing")
    assert (first.status, first.cache) == (404, "MISS")
    clock.advance(4.9)
    hit = await proxy.get("missing")
    assert (hit.status, hit.cache, hit.headers["age"]) == (404, "HIT", "4")
    clock.advance(0.1)
    origin.on("missing", v1())
    assert (await proxy.get("missing")).body == b"one"
    assert origin.count() == 2


async def test_a_negative_ttl_of_nothing_remembers_nothing(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(negative_ttl=0.0)
    for _ in range(2):
        reply = await proxy.get("missing")
        assert (reply.status, reply.cache) == (404, "MISS")
        assert reply.headers["cache-control"] == "no-store"
    assert origin.count() == 2


@pytest.mark.parametrize("word", ["no-store", "private", "no-cache"])
async def test_an_absence_that_is_not_to_be_stored_is_not_given_a_lifetime(
    origin: ScriptedOrigin, proxy: Proxy, word: str
) -> None:
    origin.on("gone", respond(404, headers={"Cache-Control": word}))
    for _ in range(2):
        assert (await proxy.get("gone")).headers["cache-control"] == "no-store"
    assert origin.count() == 2


async def test_a_404_with_a_lifetime_of_its_own_keeps_it(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("gone", respond(404, headers={"Cache-Control": "max-age=100"}))
    await proxy.get("gone")
    clock.advance(99)
    assert (await proxy.get("gone")).cache == "HIT"
    clock.advance(1)
    assert (await proxy.get("gone")).cache == "MISS"


async def test_a_410_is_stored_only_with_a_lifetime_of_its_own(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("gone", respond(410))
    origin.on("told", respond(410, headers={"Cache-Control": "max-age=100"}))
    for key, requests in (("gone", 2), ("told", 1)):
        for _ in range(2):
            assert (await proxy.get(key)).status == 410
        assert origin.count(key) == requests


async def test_a_chunked_replacement_too_large_to_keep_removes_the_old_one(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(max_object_size=1000)
    origin.on("a", sequence(v1(), respond(body=b"x" * 5000, headers={"ETag": V2}, chunked=True)))
    await proxy.get("a")
    clock.advance(FRESH)
    assert (await proxy.get("a")).body == b"one"
    await proxy.idle()
    reply = await proxy.get("a")
    assert (reply.cache, len(reply.body)) == ("MISS", 5000)


async def test_a_revalidation_whose_new_body_breaks_off_keeps_the_old_one(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    def choose(request: RecordedRequest) -> Answer:
        if request.header("If-None-Match") is None:
            return v1()
        return respond(body=b"two", headers={"ETag": V2}, content_length=100)

    origin.on("a", per_request(choose))
    await proxy.get("a")
    clock.advance(FRESH)
    assert (await proxy.get("a")).body == b"one"
    await proxy.idle()
    again = await proxy.get("a")
    assert (again.cache, again.body) == ("STALE", b"one")
