"""A body that is not what its head announced is never stored and never looks complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.origin.errors import Failure
from tests.origins import (
    ScriptedOrigin,
    cut_after,
    drip,
    hold,
    raw_bytes,
    respond,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Proxy
    from tests.origins import Step

BODY = bytes(range(256)) * 400
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN: dict[str, Step] = {
    "cut at byte 0": cut_after(0, respond(body=BODY)),
    "cut at byte 1": cut_after(1, respond(body=BODY)),
    "cut at byte N": cut_after(70_000, respond(body=BODY)),
    "cut before the last byte": cut_after(len(BODY) - 1, respond(body=BODY)),
    "reset": cut_after(70_000, respond(body=BODY), reset=True),
    "too short": respond(body=BODY, content_length=len(BODY) + 1),
    "cut in a chunk": cut_after(1000, respond(body=BODY, chunked=True)),
    "no last chunk": raw_bytes(CHUNKED + b"5\r\nhello\r\n"),
    "bad chunk size": raw_bytes(CHUNKED + b"5\r\nhello\r\nxyz\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than it says": raw_bytes(CHUNKED + b"5\r\nhello, you\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_never_stored_and_the_iteration_raises(
    origin: ScriptedOrigin, new_proxy: NewProxy, count: Callable[..., float], name: str
) -> None:
    proxy = await new_proxy(retries=0)
    origin.on("a", BROKEN[name])
    reply = await proxy.get("a")
    # Either the head was not sent yet, or the body raises.
    assert reply.error is not None or reply.status == 502
    await proxy.idle()
    assert proxy.store.entries == 0
    assert sum(
        count("proxy_origin_errors_total", reason=failure.value) for failure in Failure
    ) == pytest.approx(1)
    origin.on("a", respond(body=b"whole"))
    assert (await proxy.get("a")).body == b"whole"


@pytest.mark.parametrize("split", [False, True], ids=["at once", "later"])
async def test_too_long_is_never_stored(
    origin: ScriptedOrigin, new_proxy: NewProxy, split: bool
) -> None:
    proxy = await new_proxy(retries=0)
    gate = origin.gate()
    if split:
        # The announced bytes first, so that only the stream can tell.
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        origin.on("a", raw_bytes(head + b"hel", then="keep"), hold(gate), raw_bytes(b"lo, you"))
        waiting = proxy.begin("a")
        await origin.until_requests(1)
        gate.open()
        reply = await waiting
    else:
        origin.on("a", respond(body=b"hello, you", content_length=5))
        reply = await proxy.get("a")
    assert reply.error is not None or reply.status == 502
    await proxy.idle()
    assert proxy.store.entries == 0


async def test_a_body_without_a_length_that_ends_with_a_reset_is_not_whole(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    gate = origin.gate()
    origin.on(
        "a",
        raw_bytes(b"HTTP/1.1 200 OK\r\n\r\nhello", then="keep"),
        hold(gate),
        raw_bytes(b"", then="reset"),
    )
    reader = await proxy.open("a")
    await reader.read(5)
    gate.open()
    assert (await reader.rest()).error is not None
    await proxy.idle()
    assert proxy.store.entries == 0


async def test_a_body_without_a_length_that_ends_well_is_whole(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(body=b"hello", content_length="missing"))
    reply = await proxy.get("a")
    assert (reply.error, reply.body) == (None, b"hello")
    await proxy.idle()
    assert (await proxy.get("a")).cache == "HIT"


async def test_followers_see_it_too(origin: ScriptedOrigin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), cut_after(70_000, respond(body=BODY)))
    requests = [proxy.begin("a") for _ in range(5)]
    part = proxy.begin("a", "Range: bytes=0-9")
    await origin.until_requests(1)
    gate.open()
    for request in requests:
        reply = await request
        assert reply.error is not None
        assert BODY.startswith(reply.body)
    # What it asked for did come.
    assert ((await part).body, part.result().error) == (BODY[:10], None)


async def test_a_request_that_comes_after_the_break_is_not_given_the_torso(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", cut_after(70_000, respond(body=BODY)))
    assert (await proxy.get("a")).error is not None
    origin.on("a", respond(body=BODY))
    reply = await proxy.get("a")
    assert (reply.error, reply.body == BODY) == (None, True)


async def test_slow_but_steady_is_not_cut_by_request_timeout(
    origin: ScriptedOrigin, new_proxy: NewProxy
) -> None:
    proxy = await new_proxy(timeout=0.4)
    origin.on("a", drip(b"0123456789", interval=0.1))
    reply = await proxy.get("a")
    assert (reply.error, reply.body) == (None, b"0123456789")


async def test_stalled_is_cut_by_request_timeout(
    origin: ScriptedOrigin, new_proxy: NewProxy, count: Callable[..., float]
) -> None:
    proxy = await new_proxy(timeout=0.3)
    gate = origin.gate()
    origin.on("a", drip(b"0123456789", piece=5, gate=gate))
    gate.admit()
    reply = await proxy.get("a")
    assert reply.error is not None
    assert reply.error.failure is Failure.TIMEOUT
    assert reply.body == b"01234"
    assert count("proxy_origin_errors_total", reason="timeout") == 1


async def test_a_broken_body_is_not_retried(origin: ScriptedOrigin, proxy: Proxy) -> None:
    origin.on("a", cut_after(10, respond(body=BODY)))
    assert (await proxy.get("a")).error is not None
    assert origin.count() == 1
