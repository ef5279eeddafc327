"""Objects larger than MAX_OBJECT_SIZE: streamed in constant memory, never stored."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.arrival import WINDOW_BYTES
from proxy.cache.backend import MemoryCache
from proxy.collapse import Arriving
from proxy.core.messages import Request
from tests.core.responses import POLICY
from tests.gateway.honest_s3 import HonestS3
from tests.gateway.subject import HOUR, Clock, gateway_on, reply_of, store_on
from tests.origins import (
    RecordedRequest,
    ScriptedOrigin,
    conditional,
    per_request,
    respond,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.arrival import Arrival
    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Proxy, ReplyReader
    from tests.origins import Answer, Step

ETAG = '"v1"'
LARGE = random.Random(1).randbytes(12 * 1024 * 1024)
MAX = 64 * 1024


@pytest.fixture
async def proxy(new_proxy: NewProxy) -> Proxy:
    return await new_proxy(max_object_size=MAX)


def arrivals(proxy: Proxy) -> list[Arrival]:
    outcomes = [flight._outcome for flight in proxy.gateway._fetcher.flights._all]
    results = [done.result() for done in outcomes if done.done() and done.exception() is None]
    return [result.arrival for result in results if isinstance(result, Arriving)]


def held(proxy: Proxy) -> int:
    return sum(sum(map(len, arrival._chunks)) for arrival in arrivals(proxy))


async def left_behind(proxy: Proxy) -> ReplyReader:
    """A reader that began while another has read to the end."""
    slow, quick = await proxy.open("a"), await proxy.open("a")
    await slow.read(1)
    assert (await quick.rest()).body == LARGE
    return slow


async def test_streamed_whole_and_not_stored(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    reply = await proxy.get("a")
    assert reply.body == LARGE
    assert reply.cache_status == ["fwd=uri-miss", "fwd-status=200"]
    await proxy.idle()
    assert proxy.store.bytes < 10_000
    again = await proxy.get("a")
    assert (again.body == LARGE, again.cache) == (True, "BYPASS")
    assert origin.count() == 2


async def test_50_simultaneous_requests_are_all_whole_from_one_get_in_bounded_memory(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, held(proxy))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())

    async def digest(_: int) -> int:
        reader = await proxy.open("a")
        position = 0
        assert reader._chunks is not None
        async for chunk in reader._chunks:
            assert chunk == LARGE[position : position + len(chunk)]
            position += len(chunk)
            await asyncio.sleep(0)
        reader.close()
        return position

    lengths = await asyncio.gather(*map(digest, range(50)))
    watching.cancel()
    assert set(lengths) == {len(LARGE)}
    assert [request.header("Range") for request in origin.requests] == [None]
    assert 0 < most <= WINDOW_BYTES + 1024 * 1024


async def test_a_slow_reader_left_behind_gets_every_byte_by_its_own_range_request(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    slow = await left_behind(proxy)
    assert (await slow.rest()).body == LARGE
    own = origin.requests[1]
    assert (own.header("Range") or "").endswith(f"-{len(LARGE) - 1}")
    assert own.header("If-Match") == ETAG
    assert origin.count() == 2


async def test_a_lone_slow_reader_slows_the_origin_down_instead_of_filling_memory(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    # Slower than REQUEST_TIMEOUT, which is about the origin, not about clients.
    proxy = await new_proxy(max_object_size=MAX, timeout=0.3)
    origin.on("a", conditional(LARGE, ETAG))
    slow = await proxy.open("a")
    await slow.read(1)
    await proxy.until(lambda: held(proxy) > WINDOW_BYTES)
    await asyncio.sleep(0.5)
    assert held(proxy) <= WINDOW_BYTES + 1024 * 1024
    assert (await slow.rest()).body == LARGE
    assert origin.count() == 1


async def test_a_slow_reader_left_behind_by_an_object_overwritten_since_is_cut_off(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    slow = await left_behind(proxy)
    origin.on("a", conditional(bytes(len(LARGE)), '"v2"'))
    reply = await slow.rest()
    assert reply.error is not None
    assert LARGE.startswith(reply.body)


async def test_a_slow_reader_of_an_object_without_a_strong_etag_is_cut_off_not_mixed(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    # RFC 9110 §14.4, §15.3.7.3: parts fit together by a strong validator only.
    for headers in ({}, {"ETag": 'W/"same"'}):

        def choose(request: RecordedRequest, headers: dict[str, str] = headers) -> Answer:
            wanted = request.header("Range")
            if wanted is None:
                return respond(body=LARGE, headers=headers)
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            described = headers | {"Content-Range": f"bytes {first}-{last}/{len(LARGE)}"}
            return respond(206, bytes(last - first + 1), described)

        origin.on("a", per_request(choose))
        slow = await left_behind(proxy)
        reply = await slow.rest()
        assert reply.error is not None
        assert LARGE.startswith(reply.body)
        await proxy.purge("a")


async def test_when_all_readers_leave_the_origin_is_left_too(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    readers = [await proxy.open("a") for _ in range(3)]
    for reader in readers:
        await reader.read(1)
        reader.close()
    await proxy.idle()
    await origin.until(lambda: origin.open_connections == 0)


async def test_a_head_does_not_fetch_the_body(
    origin: ScriptedOrigin, proxy: Proxy, count: Callable[..., float]
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    head = await proxy.get("a", method="HEAD")
    assert (head.headers["content-length"], head.body) == (str(len(LARGE)), b"")
    await proxy.idle()
    assert count("proxy_origin_bytes_total") < len(LARGE) / 2
    again = await proxy.get("a", method="HEAD")
    assert (again.cache, again.headers["etag"]) == ("HIT", ETAG)
    assert origin.count() == 1


async def test_preconditions_are_answered_from_the_stored_head(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    reply = await proxy.get("a", f"If-None-Match: {ETAG}")
    assert (reply.status, reply.cache) == (304, "HIT")
    assert origin.count() == 1


async def test_a_range_on_a_miss_goes_to_s3(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    reply = await proxy.get("a", "Range: bytes=1000000-1000009")
    assert (reply.status, reply.body) == (206, LARGE[1_000_000:1_000_010])
    assert reply.headers["content-range"] == f"bytes 1000000-1000009/{len(LARGE)}"
    assert reply.cache == "BYPASS"
    part = origin.requests[-1]
    assert part.header("Range") == "bytes=1000000-1000009"
    assert part.header("If-Match") == ETAG


async def test_a_range_on_a_known_large_object_asks_for_that_range_alone(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    reply = await proxy.get("a", "Range: bytes=-5")
    assert (reply.status, reply.body) == (206, LARGE[-5:])
    assert reply.cache_status == ["fwd=bypass", "fwd-status=206"]
    assert [request.header("Range") for request in origin.requests] == [
        None,
        f"bytes={len(LARGE) - 5}-{len(LARGE) - 1}",
    ]


async def test_several_ranges_of_a_large_object(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", conditional(LARGE, ETAG, headers={"Content-Type": "video/mp4"}))
    await proxy.get("a", method="HEAD")
    reply = await proxy.get("a", "Range: bytes=0-9, 5000000-5000009")
    assert reply.status == 206
    assert reply.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert len(reply.body) == int(reply.headers["content-length"])
    assert LARGE[:10] in reply.body
    assert LARGE[5_000_000:5_000_010] in reply.body
    assert reply.body.count(b"Content-Type: video/mp4") == 2


async def test_several_ranges_without_a_strong_etag_get_the_whole(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, 'W/"v1"'))
    await proxy.get("a", method="HEAD")
    reply = await proxy.get("a", "Range: bytes=0-9, 5000000-5000009")
    assert (reply.status, reply.body == LARGE) == (200, True)


async def test_an_unsatisfiable_range_is_refused_from_the_stored_head(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    reply = await proxy.get("a", f"Range: bytes={len(LARGE)}-")
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(LARGE)}")
    assert origin.count() == 1


@pytest.mark.parametrize("new", [conditional(b"small", '"v2"'), conditional(LARGE[1:], '"v2"')])
async def test_a_range_of_an_object_overwritten_since_gets_the_whole_new_one(
    origin: ScriptedOrigin, proxy: Proxy, new: Step
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    origin.on("a", new)
    reply = await proxy.get("a", "Range: bytes=3-")
    assert (reply.status, reply.headers["etag"]) == (200, '"v2"')
    assert reply.body in (b"small", LARGE[1:])


async def test_a_range_of_an_object_deleted_since_is_404(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    origin.on("a", respond(404))
    assert (await proxy.get("a", "Range: bytes=3-")).status == 404


async def test_a_second_part_of_another_version_breaks_the_answer_off(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    reader = await proxy.open("a", "Range: bytes=0-9, 5000000-5000009")
    origin.on("a", conditional(bytes(len(LARGE)), '"v2"'))
    reply = await reader.rest()
    assert reply.error is not None
    assert bytes(10) not in reply.body


async def test_only_if_cached_on_an_object_whose_head_alone_is_stored_is_504(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    for lines in ([], ["Range: bytes=0-9"]):
        assert (await proxy.get("a", "Cache-Control: only-if-cached", *lines)).status == 504
    assert (await proxy.get("a", "Cache-Control: only-if-cached", method="HEAD")).status == 200
    assert origin.count() == 1


async def test_stale_head_is_validated_and_the_whole_is_sent(
    origin: ScriptedOrigin, proxy: Proxy, clock: Clock
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    for age in (310, HOUR):
        clock.advance(age)
        assert (await proxy.get("a")).body == LARGE
        await proxy.idle()


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until-close"])
async def test_an_object_of_unknown_length_that_turns_out_large_is_streamed_whole(
    origin: ScriptedOrigin, proxy: Proxy, chunked: bool
) -> None:
    answer = (
        respond(body=LARGE, chunked=True)
        if chunked
        else respond(body=LARGE, content_length="missing")
    )
    origin.on("a", answer)
    readers = [proxy.begin("a") for _ in range(3)]
    for reply in await asyncio.gather(*readers):
        assert reply.body == LARGE
        assert "content-length" not in reply.headers
    await proxy.idle()
    assert proxy.store.entries == 0


async def test_a_range_request_that_comes_late_to_a_large_object_of_unknown_length(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(body=LARGE, chunked=True))
    first = await proxy.open("a")
    await first.read(3 * 1024 * 1024)
    late = await proxy.get("a", "Range: bytes=0-9")
    assert (late.status, late.body == LARGE) == (200, True)
    assert (await first.rest()).body == LARGE


async def test_the_origin_failing_for_a_part_is_an_error_with_a_status(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(max_object_size=MAX, retries=0)
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")
    origin.on("a", respond(503))
    reply = await proxy.get("a", "Range: bytes=0-9")
    assert reply.status == 503
    assert reply.headers["retry-after"] == "1"


async def test_a_body_that_breaks_off_at_once_is_not_asked_for_again_and_again() -> None:
    clock = Clock()
    s3 = HonestS3(clock, ("a",))
    s3.put("a", 200)
    s3.breaks = True
    cache = MemoryCache("breaks-at-once", {"OPTIONS": {"CLOCK": clock}})
    gateway = gateway_on(store_on(cache), s3, replace(POLICY, max_object_size=64), clock)
    asked = s3.tick
    reply = await asyncio.wait_for(reply_of(await gateway.answer(Request("GET", "a"))), 5)
    await gateway.aclose()
    assert (reply.status, len(reply.body)) == (200, 16)
    assert reply.error is not None
    assert s3.tick == asked + 1


async def test_parts_of_another_version_from_an_origin_that_ignores_if_match_are_not_sent(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", conditional(LARGE, ETAG))
    await proxy.get("a", method="HEAD")

    def choose(request: RecordedRequest) -> Answer:
        if request.header("Range") is None:
            return respond(body=b"new", headers={"ETag": '"v2"'})
        described = {"ETag": '"v2"', "Content-Range": f"bytes 0-2/{len(LARGE)}"}
        return respond(206, b"new", described)

    origin.on("a", per_request(choose))
    reply = await proxy.get("a", "Range: bytes=0-2")
    assert (reply.status, reply.headers["etag"], reply.body) == (200, '"v2"', b"new")
