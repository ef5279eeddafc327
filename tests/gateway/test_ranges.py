"""Parts of objects that fit into memory, CONTRACT section 4."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.gateway.subject import reply_of
from tests.origins import ScriptedOrigin, conditional, drip

if TYPE_CHECKING:
    from tests.gateway.subject import Proxy

ETAG = '"v1"'
MODIFIED = "Tue, 01 Oct 2024 10:00:00 GMT"
BODY = b"0123456789"

CASES = [
    ("bytes=2-4", 206, b"234"),
    ("bytes=7-", 206, b"789"),
    ("bytes=-2", 206, b"89"),
    ("bytes=-99", 206, BODY),
    ("bytes=5-99", 206, b"56789"),
    ("bytes=0-0", 206, b"0"),
    ("bytes=10-", 416, None),
    ("bytes=-0", 416, None),
    ("lines=0-1", 200, BODY),
    ("bytes=4-2", 200, BODY),
    ("bytes=a-b", 200, BODY),
    ("bytes=0-9,0-9,0-9", 200, BODY),
]


@pytest.mark.parametrize("stored", [True, False], ids=["hit", "miss"])
@pytest.mark.parametrize(("wanted", "status", "body"), CASES)
async def test_one_part(
    origin: ScriptedOrigin,
    proxy: Proxy,
    wanted: str,
    status: int,
    body: bytes | None,
    stored: bool,
) -> None:
    origin.on("a", conditional(BODY, ETAG))
    if stored:
        await proxy.get("a")
    reply = await proxy.get("a", f"Range: {wanted}")
    assert reply.status == status
    if body is not None:
        assert reply.body == body
    else:
        assert reply.headers["content-range"] == "bytes */10"
    # A miss is filled whole by one GET, whatever part was asked for.
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
    assert [request.header("Range") for request in origin.requests] == [None]


@pytest.mark.parametrize("stored", [True, False], ids=["hit", "miss"])
async def test_several_parts(origin: ScriptedOrigin, proxy: Proxy, stored: bool) -> None:
    origin.on("a", conditional(BODY, ETAG, headers={"Content-Type": "text/plain"}))
    if stored:
        await proxy.get("a")
    reply = await proxy.get("a", "Range: bytes=0-1,-2")
    kind, _, boundary = reply.headers["content-type"].partition("; boundary=")
    assert (reply.status, kind) == (206, "multipart/byteranges")
    delimiter = f"\r\n--{boundary}"
    text = reply.body.decode()
    first, second, end = text.split(delimiter)[1:]
    assert first == "\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
    assert second == "\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
    assert end == "--\r\n"
    assert len(reply.body) == int(reply.headers["content-length"])
    assert "content-range" not in reply.headers


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (ETAG, 206),
        ('"other"', 200),
        (f"W/{ETAG}", 200),
        (MODIFIED, 200),  # the Date of the scripted origin's answer is older: a weak date
        ("Tue, 01 Oct 2024 10:00:01 GMT", 200),
    ],
)
async def test_if_range(origin: ScriptedOrigin, proxy: Proxy, if_range: str, status: int) -> None:
    origin.on("a", conditional(BODY, ETAG, MODIFIED))
    await proxy.get("a")
    reply = await proxy.get("a", "Range: bytes=2-4", f"If-Range: {if_range}")
    assert reply.status == status


async def test_preconditions_come_before_the_range(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", conditional(BODY, ETAG))
    await proxy.get("a")
    assert (await proxy.get("a", "Range: bytes=2-4", f"If-None-Match: {ETAG}")).status == 304
    assert (await proxy.get("a", "Range: bytes=2-4", 'If-Match: "other"')).status == 412


async def test_head_ignores_range(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", conditional(BODY, ETAG))
    for _ in range(2):
        reply = await proxy.get("a", "Range: bytes=2-4", method="HEAD")
        assert (reply.status, reply.headers["content-length"]) == (200, "10")


async def test_a_range_miss_is_answered_as_soon_as_its_bytes_are_there(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on("a", drip(BODY, piece=2, gate=gate))
    gate.admit(2)
    # Bytes 0 to 3 have left the origin, the rest waits at the gate.
    part = await proxy.get("a", "Range: bytes=1-3")
    assert (part.status, part.body) == (206, b"123")
    gate.open()
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"
    assert origin.count() == 1


async def test_long_parts_of_a_stored_body_are_not_copied_for_each_client(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    body = bytes(range(256)) * 4096
    origin.on("a", conditional(body, ETAG))
    await proxy.get("a")
    tracemalloc.start()
    try:
        answers = [await proxy.answer("a", "Range: bytes=1-") for _ in range(20)]
        assert tracemalloc.get_traced_memory()[0] < len(body)
    finally:
        tracemalloc.stop()
    for answer in answers:
        assert (await reply_of(answer)).body == body[1:]
    both = await proxy.get("a", "Range: bytes=1-700000,800000-")
    assert (both.status, both.error) == (206, None)
    assert len(both.body) == int(both.headers["content-length"])
