"""Extra attempts: only before the first byte, at most S3_RETRIES, inside REQUEST_TIMEOUT."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from proxy.origin.errors import Failure, OriginError
from proxy.origin.exchange import OriginAnswer
from tests.gateway.subject import Bucket, s3_origin
from tests.origins import (
    ScriptedOrigin,
    black_hole,
    close_before_reply,
    cut_after,
    refusing_port,
    respond,
    s3_error,
    sequence,
)

if TYPE_CHECKING:
    from proxy.origin.s3 import S3Origin
    from tests.origins import Step

RETRIED: dict[str, Step] = {
    "500": s3_error(500, "InternalError"),
    "503": s3_error(503, "SlowDown"),
    "closed": close_before_reply(),
    "reset": close_before_reply(reset=True),
}
NOT_RETRIED: dict[str, Step] = {
    "502": respond(502),
    "429": respond(429),
    "401": respond(401),
    "404": s3_error(404, "NoSuchKey"),
    "403": s3_error(403, "AccessDenied"),
    "206": respond(206, b"x", {"Content-Range": "bytes 0-0/1"}),
}


async def body(s3: S3Origin) -> bytes:
    answer = await s3.get("a")
    assert isinstance(answer, OriginAnswer)
    try:
        return b"".join([chunk async for chunk in answer.chunks()])
    finally:
        answer.close()


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("name", RETRIED)
async def test_at_most_s3_retries(origin: ScriptedOrigin, name: str, retries: int) -> None:
    origin.on("a", RETRIED[name])
    s3 = s3_origin(Bucket(origin.endpoint), retries=retries)
    with pytest.raises(OriginError):
        await s3.get("a")
    await s3.aclose()
    assert origin.count() == 1 + retries


@pytest.mark.parametrize("name", RETRIED)
async def test_a_retry_that_succeeds(origin: ScriptedOrigin, name: str) -> None:
    origin.on("a", sequence(RETRIED[name], RETRIED[name], respond(body=b"x")))
    s3 = s3_origin(Bucket(origin.endpoint), retries=2)
    assert await body(s3) == b"x"
    await s3.aclose()


@pytest.mark.parametrize("name", NOT_RETRIED)
async def test_nothing_else_is_tried_again(origin: ScriptedOrigin, name: str) -> None:
    origin.on("a", NOT_RETRIED[name])
    s3 = s3_origin(Bucket(origin.endpoint), retries=3)
    with contextlib.suppress(OriginError):
        await s3.get("a")
    await s3.aclose()
    assert origin.count() == 1


async def test_never_after_the_first_byte(origin: ScriptedOrigin) -> None:
    origin.on("a", cut_after(1, respond(body=b"xyz")))
    s3 = s3_origin(Bucket(origin.endpoint), retries=3)
    with pytest.raises(OriginError):
        await body(s3)
    await s3.aclose()
    assert origin.count() == 1


async def test_inside_request_timeout(origin: ScriptedOrigin) -> None:
    origin.on("a", s3_error(503, "SlowDown"))
    s3 = s3_origin(Bucket(origin.endpoint), retries=1000, timeout=0.5)
    began = time.monotonic()
    with pytest.raises(OriginError) as caught:
        await s3.get("a")
    assert time.monotonic() - began < 1.5
    assert caught.value.failure is Failure.THROTTLED
    assert 1 < origin.count() < 100
    await s3.aclose()


async def test_silence_ends_with_request_timeout_and_is_not_tried_again(
    origin: ScriptedOrigin,
) -> None:
    origin.on("a", black_hole())
    s3 = s3_origin(Bucket(origin.endpoint), retries=3, timeout=0.3)
    began = time.monotonic()
    with pytest.raises(OriginError) as caught:
        await s3.get("a")
    assert 0.25 < time.monotonic() - began < 1.5
    assert caught.value.failure is Failure.TIMEOUT
    assert origin.count() == 1
    await s3.aclose()


async def test_silence_after_a_failure_ends_with_the_same_deadline(
    origin: ScriptedOrigin,
) -> None:
    origin.on("a", sequence(s3_error(500, "InternalError"), black_hole()))
    s3 = s3_origin(Bucket(origin.endpoint), retries=3, timeout=0.5)
    began = time.monotonic()
    with pytest.raises(OriginError) as caught:
        await s3.get("a")
    assert time.monotonic() - began < 1.5
    assert caught.value.failure is Failure.TIMEOUT
    await s3.aclose()


async def test_refused_connections_are_tried_again() -> None:
    with refusing_port() as port:
        s3 = s3_origin(Bucket(f"http://127.0.0.1:{port}"), retries=2)
        with pytest.raises(OriginError) as caught:
            await s3.get("a")
        await s3.aclose()
    assert caught.value.failure is Failure.CONNECT
    assert caught.value.client_status == 502


async def test_a_connection_closed_while_idle_costs_no_retry(origin: ScriptedOrigin) -> None:
    origin.on("a", sequence(respond(body=b"1"), close_before_reply(), respond(body=b"2")))
    s3 = s3_origin(Bucket(origin.endpoint), retries=0)
    assert await body(s3) == b"1"
    assert await body(s3) == b"2"
    await s3.aclose()
    assert origin.connections == 2


async def test_a_request_given_up_leaves_no_connection(origin: ScriptedOrigin) -> None:
    import asyncio

    origin.on("a", black_hole())
    s3 = s3_origin(Bucket(origin.endpoint))
    waiting = asyncio.create_task(s3.get("a"))
    await origin.until_requests(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await origin.until(lambda: origin.open_connections == 0)
    await s3.aclose()
