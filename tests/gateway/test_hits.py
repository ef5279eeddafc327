"""What is stored is sent again, CONTRACT section 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy import metrics
from proxy.answer import Answer
from proxy.core.messages import Request
from tests.gateway.subject import reply_of
from tests.origins import ScriptedOrigin, conditional, respond

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy

ETAG = '"v1"'
MODIFIED = "Tue, 01 Oct 2024 10:00:00 GMT"

PASSED = {
    "Content-Type": "text/css",
    "Content-Encoding": "gzip",
    "Content-Language": "de",
    "Content-Disposition": 'inline; filename="a.css"',
    "Cache-Control": "max-age=60",
    "Expires": "Thu, 01 Dec 2044 16:00:00 GMT",
    "ETag": ETAG,
    "Last-Modified": MODIFIED,
    "x-amz-meta-Author": "somebody",
}
NOT_PASSED = {
    "Server": "AmazonS3",
    "x-amz-request-id": "4442587FB7D0A2F9",
    "x-amz-id-2": "abc",
    "x-amz-version-id": "3",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-storage-class": "GLACIER",
    "x-amz-expiration": "never",
    "Set-Cookie": "a=b",
    "Vary": "Origin",
    "Access-Control-Allow-Origin": "*",
    "Strict-Transport-Security": "max-age=1",
    "Keep-Alive": "timeout=5",
    "X-Cache": "Hit from somewhere",
    "Cache-Status": "somewhere; hit",
    "X-Request-ID": "theirs",
}
OF_S3 = {name.lower() for name in PASSED} | {"accept-ranges", "date", "content-length"}
ADDED = {"age", "x-cache", "cache-status", "x-content-type-options"}


async def test_the_second_request_is_a_hit_from_memory(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"hello"))
    assert (await proxy.get("a")).cache == "MISS"
    clock.advance(7)
    second = await proxy.get("a")
    assert (second.status, second.body, second.cache) == (200, b"hello", "HIT")
    assert second.headers["age"] == "7"
    assert second.cache_status == ["hit", "ttl=293"]
    assert origin.count() == 1


async def test_a_miss_says_so(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"hello"))
    miss = await proxy.get("a")
    assert (miss.status, miss.body) == (200, b"hello")
    assert miss.headers["content-length"] == "5"
    assert "age" not in miss.headers
    assert miss.cache_status == ["fwd=uri-miss", "fwd-status=200", "stored"]


async def test_the_same_headers_on_miss_hit_head_and_206(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"0123456789", headers=PASSED | NOT_PASSED))
    miss = await proxy.get("a")
    clock.advance(3)
    hit = await proxy.get("a")
    head = await proxy.get("a", method="HEAD")
    part = await proxy.get("a", "Range: bytes=2-4")
    for reply in (miss, hit, head):
        assert set(reply.headers) - ADDED == OF_S3
    assert set(part.headers) - ADDED == OF_S3 | {"content-range"}
    for name, value in PASSED.items():
        for reply in (miss, hit, head, part):
            assert reply.headers[name.lower()] == value
    assert head.headers == hit.headers
    assert head.body == b""
    assert (part.status, part.body, part.headers["content-length"]) == (206, b"234", "3")


async def test_a_304_carries_the_applicable_subset(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"0123456789", headers=PASSED | NOT_PASSED))
    await proxy.get("a")
    reply = await proxy.get("a", f"If-None-Match: {ETAG}")
    assert (reply.status, reply.body) == (304, b"")
    assert set(reply.headers) - ADDED == {"cache-control", "date", "etag", "expires"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"If-None-Match: {ETAG}", 304),
        (f'If-None-Match: "other", W/{ETAG}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "other"', 200),
        (f"If-Modified-Since: {MODIFIED}", 304),
        ("If-Modified-Since: Tue, 01 Oct 2024 09:59:59 GMT", 200),
        (f"If-Match: {ETAG}", 200),
        ('If-Match: "other"', 412),
        ("If-Unmodified-Since: Tue, 01 Oct 2024 09:59:59 GMT", 412),
    ],
)
async def test_fresh_hit_honours_preconditions_without_asking_the_origin(
    origin: ScriptedOrigin, proxy: Proxy, line: str, status: int
) -> None:
    origin.on("a", conditional(b"hello", ETAG, MODIFIED))
    await proxy.get("a")
    for method in ("GET", "HEAD"):
        reply = await proxy.get("a", line, method=method)
        assert (reply.status, reply.cache) == (status, "HIT")
    assert origin.count() == 1


async def test_a_precondition_on_a_miss_is_answered_and_the_whole_is_stored(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(b"hello", ETAG, MODIFIED))
    reply = await proxy.get("a", f"If-None-Match: {ETAG}")
    assert (reply.status, reply.cache) == (304, "MISS")
    await proxy.idle()
    assert (await proxy.get("a")).body == b"hello"
    assert origin.count() == 1
    assert origin.requests[0].header("If-None-Match") is None


async def test_zero_byte_objects_are_cached(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("empty", respond(body=b"", headers={"ETag": ETAG}))
    first = await proxy.get("empty")
    await proxy.idle()
    second = await proxy.get("empty")
    assert (first.status, first.body, first.cache) == (200, b"", "MISS")
    assert (second.status, second.body, second.cache) == (200, b"", "HIT")
    assert second.headers["content-length"] == "0"
    assert origin.count() == 1


async def test_a_head_on_a_miss_fills_the_whole(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"hello"))
    head = await proxy.get("a", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")
    await proxy.idle()
    hit = await proxy.get("a")
    assert (hit.cache, hit.body) == ("HIT", b"hello")
    assert [request.method for request in origin.requests] == ["GET"]


async def test_a_hit_sends_the_stored_bytes_uncopied(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"hello"))
    await proxy.get("a")
    stored = proxy.store.get("a")
    answer = await proxy.answer("a")
    assert stored is not None
    assert answer.body is stored.body


async def test_an_object_of_exactly_max_object_size_is_stored_one_byte_more_is_not(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(max_object_size=1000)
    origin.on("fits", respond(body=b"x" * 1000))
    origin.on("large", respond(body=b"x" * 1001))
    for key in ("fits", "large"):
        assert len((await proxy.get(key)).body) == 1000 + (key == "large")
        await proxy.idle()
        assert len((await proxy.get(key)).body) == 1000 + (key == "large")
    assert (origin.count("fits"), origin.count("large")) == (1, 2)


async def test_age_of_the_origin_counts(origin: ScriptedOrigin, proxy: Proxy, clock: Clock) -> None:
    origin.on("a", respond(body=b"x", headers={"Age": "100", "Cache-Control": "max-age=150"}))
    assert (await proxy.get("a")).headers["age"] == "100"
    clock.advance(49)
    hit = await proxy.get("a")
    assert (hit.cache, hit.headers["age"]) == ("HIT", "149")
    clock.advance(1)
    assert (await proxy.get("a")).cache == "STALE"


async def test_hits_and_misses_are_counted_as_the_header_says(
    origin: ScriptedOrigin, proxy: Proxy, count: Callable[..., float]
) -> None:
    origin.on("a", respond(body=b"x"))
    for _ in range(3):
        await proxy.get("a")
    await proxy.get("a", method="HEAD")
    assert count("proxy_cache_misses_total") == 1
    assert count("proxy_cache_hits_total") == 3
    assert count("proxy_origin_requests_total", outcome="ok") == 1
    assert count("proxy_origin_bytes_total") == 1


async def test_a_header_value_that_would_split_the_response_does_not_pass(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on(
        "a", respond(body=b"x", headers={"x-amz-meta-a": "b\x01c", "x-amz-meta-b": "caf\xe9"})
    )
    reply = await proxy.get("a")
    assert "x-amz-meta-a" not in reply.headers


async def test_what_is_fresh_in_memory_is_at_hand(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"hello"))
    assert not isinstance(proxy.gateway.at_hand(Request("GET", "a")), Answer)
    await proxy.get("a")
    before = metrics.counted(metrics.hits)
    answer = proxy.gateway.at_hand(Request("GET", "a"))
    assert isinstance(answer, Answer)
    assert (await reply_of(answer)).cache == "HIT"
    assert metrics.counted(metrics.hits) == before + 1


async def test_what_is_stale_is_not_at_hand_but_found(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"hello", headers={"Cache-Control": "max-age=1"}))
    await proxy.get("a")
    clock.advance(100_000)
    sighting = proxy.gateway.at_hand(Request("GET", "a"))
    assert not isinstance(sighting, Answer)
    assert sighting.response is not None
    reply = await reply_of(await proxy.gateway.answer(Request("GET", "a"), sighting))
    assert (reply.cache, reply.body) == ("MISS", b"hello")
