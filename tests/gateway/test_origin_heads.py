"""Heads as origins send them, unusual and wrong ones too: RFC 9110, RFC 9111 §3 to §5."""

from __future__ import annotations

import asyncio
import gzip
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from tests.origins import (
    ScriptedOrigin,
    close_before_reply,
    conditional,
    drip,
    hold,
    raw_bytes,
    respond,
    sequence,
)

if TYPE_CHECKING:
    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock, Proxy

NOW = 1_700_000_000.0
ETAG = '"v1"'
ALWAYS = {
    "accept-ranges", "date", "content-length", "x-cache", "cache-status", "x-content-type-options"
}  # fmt: skip


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"Connection": "x-amz-meta-a", "x-amz-meta-a": "1"},
        {"Connection": "close, X-AMZ-META-A", "x-amz-meta-a": "1"},
        {"Warning": '110 - "Response is stale"'},
        {"Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive"},
        {"TE": "trailers", "Trailer": "x-amz-meta-a"},
        {"Vary": "Accept-Encoding"},
        {"Pragma": "no-cache"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_fields_of_one_hop_and_obsolete_ones_never_reach_a_client(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock, fields: dict[str, str]
) -> None:
    origin.on("a", respond(body=b"x", headers=fields))
    miss = await proxy.get("a")
    await proxy.idle()
    hit = await proxy.get("a")
    clock.advance(310)
    stale = await proxy.get("a")
    assert [reply.cache for reply in (miss, hit, stale)] == ["MISS", "HIT", "STALE"]
    assert set(miss.headers) == ALWAYS
    assert set(hit.headers) == set(stale.headers) == ALWAYS | {"age"}


async def test_an_interim_response_is_neither_stored_nor_the_answer(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    interim = b'HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=1000\r\nETag: "no"\r\n\r\n'
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nCache-Control: max-age=5\r\n\r\nx"
    origin.on("a", raw_bytes(interim + final, then="keep"))
    for cache in ("MISS", "HIT"):
        reply = await proxy.get("a")
        assert (reply.status, reply.body, reply.cache) == (200, b"x", cache)
        assert reply.headers["cache-control"] == "max-age=5"
        assert "etag" not in reply.headers
        await proxy.idle()


@pytest.mark.parametrize("accept", ["Accept-Encoding: identity", "Accept-Encoding: gzip", "A: b"])
async def test_an_encoded_object_passes_as_it_is_whoever_asks(
    origin: ScriptedOrigin, proxy: Proxy, accept: str
) -> None:
    encoded = gzip.compress(b"hello " * 100, mtime=0)
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/css"}
    origin.on("a", conditional(encoded, ETAG, headers=headers))
    for _ in range(2):
        reply = await proxy.get("a", accept)
        assert reply.body == encoded
        assert reply.headers["content-length"] == str(len(encoded))
        assert (reply.headers["content-encoding"], reply.headers["etag"]) == ("gzip", ETAG)
        await proxy.idle()
    part = await proxy.get("a", accept, "Range: bytes=2-11")
    assert (part.body, part.headers["content-encoding"]) == (encoded[2:12], "gzip")
    assert (await proxy.get("a", accept, f"If-None-Match: {ETAG}")).status == 304
    assert origin.count() == 1


async def test_pragma_in_a_response_means_nothing(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", respond(body=b"x", headers={"Pragma": "no-cache"}))
    await proxy.get("a")
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"


@pytest.mark.parametrize(
    ("headers", "cache"),
    [
        ((("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")), "MISS"),
        ((("Cache-Control", "no-cache"), ("Cache-Control", "max-age=60")), "REVALIDATED"),
        ((("Cache-Control", "max-age=60, private"),), "MISS"),
        ((("Cache-Control", "public, private"),), "MISS"),
        ((("Cache-Control", "no-store, public, max-age=60"),), "MISS"),
        ((("Cache-Control", "must-understand, no-store, max-age=60"),), "HIT"),
        ((("Cache-Control", "NO-CACHE"),), "REVALIDATED"),
        ((("Cache-Control", 'no-cache="x-amz-meta-a"'),), "REVALIDATED"),
        ((("Cache-Control", "x-no-store=1, max-age=60"),), "HIT"),
        ((("Cache-Control", 'ext="no-store", max-age=60'),), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Expires", date(-1000))), "HIT"),
        ((("Expires", date(60)), ("Expires", date(60))), "REVALIDATED"),
        ((("Expires", date(60)), ("Date", date(120))), "REVALIDATED"),
        ((("Expires", date(60)), ("Date", "not a date")), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Age", "60")), "STALE"),
        ((("Cache-Control", "max-age=60"), ("Age", "60"), ("Age", "0")), "STALE"),
        ((("Cache-Control", "max-age=60"), ("Age", "0"), ("Age", "60")), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Age", "-60")), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Age", "60.0")), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Age", "9" * 30)), "REVALIDATED"),
        ((("Cache-Control", "max-age=60"), ("Date", date(-59))), "HIT"),
        ((("Cache-Control", "max-age=60"), ("Date", date(-61))), "STALE"),
        ((("Cache-Control", "max-age=60"), ("Date", date(100_000))), "HIT"),
    ],
    ids=str,
)
async def test_the_second_request(
    origin: ScriptedOrigin, proxy: Proxy, headers: tuple[tuple[str, str], ...], cache: str
) -> None:
    first = respond(body=b"x", headers=(*headers, ("ETag", ETAG)))
    origin.on("a", sequence(first, conditional(b"x", ETAG)))
    await proxy.get("a")
    await proxy.idle()
    if cache == "MISS":
        assert proxy.store.entries == 0
    else:
        assert (await proxy.get("a")).cache == cache


async def test_an_age_is_told_from_the_date_where_the_origin_tells_none(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", respond(body=b"x", headers={"Date": date(-30)}))
    miss = await proxy.get("a")
    assert (miss.headers["age"], miss.headers["date"]) == ("30", date(-30))
    clock.advance(5)
    hit = await proxy.get("a")
    assert (hit.headers["age"], hit.headers["date"]) == ("35", date(-30))


async def test_a_missing_date_is_added(origin: ScriptedOrigin, proxy: Proxy, clock: Clock) -> None:
    origin.on("a", respond(body=b"x"))
    await proxy.get("a")
    clock.advance(5)
    hit = await proxy.get("a")
    assert (hit.headers["age"], hit.headers["date"]) == ("5", date(0))


async def test_time_under_way_counts(origin: ScriptedOrigin, proxy: Proxy, clock: Clock) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(body=b"x", headers={"Age": "10"}))
    waiting = proxy.begin("a")
    await origin.until_requests(1)
    clock.advance(4)
    gate.open()
    assert (await waiting).headers["age"] == "14"


@pytest.mark.parametrize(
    ("since", "status"), [(date(0), 304), (date(60), 304), (date(-1), 200), ("x", 200)]
)
async def test_a_stored_response_without_last_modified_is_as_old_as_its_date(
    origin: ScriptedOrigin, proxy: Proxy, since: str, status: int
) -> None:
    origin.on("a", respond(body=b"x"))
    assert (await proxy.get("a", f"If-Modified-Since: {since}")).status == 200
    await proxy.idle()
    assert (await proxy.get("a", f"If-Modified-Since: {since}")).status == status
    assert (await proxy.get("a", f"If-Unmodified-Since: {since}")).status == 200


async def test_a_head_is_answered_while_the_object_is_being_filled(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(b"0123456789", piece=5, gate=gate, headers={"ETag": ETAG}))
    first = proxy.begin("a")
    await origin.until_requests(1)
    head = await proxy.get("a", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    assert (await proxy.get("a", f"If-None-Match: {ETAG}")).status == 304
    part = proxy.begin("a", "Range: bytes=1-2")
    gate.admit()
    assert (await part).body == b"12"
    gate.open()
    assert (await first).body == b"0123456789"
    assert origin.count() == 1


@pytest.mark.parametrize(
    ("asked", "status"), [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-1", 200)]
)
async def test_a_range_of_an_empty_object(
    origin: ScriptedOrigin, proxy: Proxy, asked: str, status: int
) -> None:
    origin.on("a", respond(body=b"", headers={"ETag": ETAG}))
    for _ in range(2):
        reply = await proxy.get("a", f"Range: {asked}")
        assert reply.status == status
        assert reply.headers.get("content-range") == ("bytes */0" if status == 416 else None)
        await proxy.idle()


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206, 300, 301, 302, 307, 308, 400, 405,
                                    409, 412, 413, 414, 416, 418, 429, 451, 500, 501, 502, 503,
                                    504, 599])  # fmt: skip
async def test_of_any_other_status_nothing_is_stored_whatever_it_says(
    origin: ScriptedOrigin, new_proxy: NewProxy, status: int
) -> None:
    proxy = await new_proxy(retries=0)
    fields = {"Cache-Control": "public, max-age=1000", "ETag": ETAG, "Content-Range": "bytes 0-0/9"}
    origin.on("a", respond(status, b"" if status == 204 else b"x", fields))
    reply = await proxy.get("a")
    assert reply.status in (502, 503, 504)
    assert reply.headers["cache-control"] == "no-store"
    await proxy.idle()
    assert proxy.store.entries == 0


async def test_an_unusual_success_does_not_replace_what_is_stored(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    partial = respond(206, b"0", {"Content-Range": "bytes 0-0/10"})
    origin.on("a", sequence(respond(body=b"0123456789"), partial))
    await proxy.get("a")
    clock.advance(1000)
    stale = await proxy.get("a")
    assert (stale.status, stale.cache, stale.body) == (200, "STALE", b"0123456789")


async def test_a_client_may_shorten_how_stale_it_gets_it_where_the_origin_fails(
    origin: ScriptedOrigin, new_proxy: NewProxy, clock: Clock
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", sequence(respond(body=b"x"), close_before_reply()))
    await proxy.get("a")
    clock.advance(1000)
    assert (await proxy.get("a", "Cache-Control: stale-if-error=699")).status == 502
    assert (await proxy.get("a", "Cache-Control: stale-if-error=701")).cache == "STALE"


async def test_a_304_with_another_weak_validator_is_not_about_what_is_stored(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    first = respond(body=b"one", headers={"ETag": 'W/"v1"'})
    second = respond(body=b"two", headers={"ETag": 'W/"v2"'})
    origin.on("a", sequence(first, respond(304, headers={"ETag": 'W/"v2"'}), second))
    await proxy.get("a")
    clock.advance(10_000)
    assert (await proxy.get("a")).body == b"two"
    assert origin.requests[2].header("If-None-Match") is None


async def test_simultaneous_requests_of_any_form_are_answered_from_one_response(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), conditional(b"0123456789", ETAG))
    asked = [
        proxy.begin("a"),
        proxy.begin("a", method="HEAD"),
        proxy.begin("a", "Range: bytes=-1"),
        proxy.begin("a", f"If-None-Match: {ETAG}"),
        proxy.begin("a", 'If-Match: "v2"'),
    ]
    await origin.until_requests(1)
    gate.open()
    replies = await asyncio.gather(*asked)
    assert [reply.status for reply in replies] == [200, 200, 206, 304, 412]
    assert origin.count() == 1
