"""The table of CONTRACT section 5: what S3 says, what the client and the operator get."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.gateway.subject import Proxy
from tests.origins import (
    ScriptedOrigin,
    black_hole,
    close_before_reply,
    conditional,
    cut_after,
    half_head,
    raw_bytes,
    redirect,
    refusing_port,
    respond,
    s3_error,
    sequence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.conftest import NewProxy
    from tests.gateway.subject import Clock
    from tests.origins import Step

PART = {"Content-Range": "bytes 0-0/3"}

# (the origin's answer, the client's status, fwd-status, metric's reason, variable in the log)
Row = tuple["Step", int, int | None, str, str | None]
FAILURES: dict[str, Row] = {
    "401": (respond(401), 502, 401, "misconfigured", "S3_ACCESS_KEY"),
    "InvalidAccessKeyId": (
        s3_error(403, "InvalidAccessKeyId"),
        502,
        403,
        "misconfigured",
        "S3_ACCESS_KEY",
    ),
    "SignatureDoesNotMatch": (
        s3_error(403, "SignatureDoesNotMatch"),
        502,
        403,
        "misconfigured",
        "S3_SECRET_KEY",
    ),
    "InvalidToken": (s3_error(400, "InvalidToken"), 502, 400, "misconfigured", "S3_SESSION_TOKEN"),
    "ExpiredToken": (s3_error(400, "ExpiredToken"), 502, 400, "misconfigured", "S3_SESSION_TOKEN"),
    "RequestTimeTooSkewed": (
        s3_error(403, "RequestTimeTooSkewed"),
        502,
        403,
        "misconfigured",
        "clock",
    ),
    "NoSuchBucket": (s3_error(404, "NoSuchBucket"), 502, 404, "misconfigured", "S3_BUCKET"),
    "wrong region": (
        s3_error(400, "AuthorizationHeaderMalformed"),
        502,
        400,
        "misconfigured",
        "S3_REGION",
    ),
    "redirect": (redirect("http://127.0.0.1:9/other"), 502, 307, "misconfigured", "S3_REGION"),
    "plain redirect": (
        respond(302, headers={"Location": "/bucket/other"}),
        502,
        302,
        "misconfigured",
        "S3_REGION",
    ),
    "304": (respond(304), 502, 304, "unexpected", "S3_ENDPOINT"),
    "206": (respond(206, b"o", PART), 502, 206, "unexpected", "S3_ENDPOINT"),
    "500": (s3_error(500, "InternalError"), 503, 500, "server_error", None),
    "SlowDown": (s3_error(503, "SlowDown"), 503, 503, "throttled", None),
    "502": (respond(502), 502, 502, "server_error", None),
    "closed": (close_before_reply(), 502, None, "connect", "S3_ENDPOINT"),
    "reset": (close_before_reply(reset=True), 502, None, "connect", "S3_ENDPOINT"),
    "silence": (black_hole(), 504, None, "timeout", None),
    "half a head": (half_head(), 504, None, "timeout", None),
    "not HTTP": (raw_bytes(b"SSH-2.0-OpenSSH\r\n\r\n"), 502, None, "unexpected", None),
    "InvalidObjectState": (s3_error(403, "InvalidObjectState"), 502, 403, "unexpected", None),
}


@pytest.fixture
async def hasty(new_proxy: NewProxy) -> Proxy:
    """A proxy that gives up soon."""
    return await new_proxy(retries=0, timeout=0.3)


def of_origin(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "s3proxy.origin"]


@pytest.mark.parametrize("name", FAILURES)
async def test_failures(
    origin: ScriptedOrigin,
    hasty: Proxy,
    caplog: pytest.LogCaptureFixture,
    count: Callable[..., float],
    name: str,
) -> None:
    step, status, fwd_status, reason, variable = FAILURES[name]
    origin.on("secret/key", step)
    reply = await hasty.get("secret/key")
    assert (reply.status, reply.cache) == (status, "MISS")
    told = [] if fwd_status is None else [f"fwd-status={fwd_status}"]
    assert reply.cache_status == ["fwd=uri-miss", *told, f"detail={reason}"]
    assert ("retry-after" in reply.headers) == (status == 503)
    assert reply.headers["cache-control"] == "no-store"

    (record,) = of_origin(caplog)
    assert record.levelno == logging.ERROR
    assert getattr(record, "variable", None) == variable
    assert variable is None or variable in record.getMessage()
    assert getattr(record, "reason", None) == reason

    assert count("proxy_origin_errors_total", reason=reason) == 1
    assert count("proxy_origin_requests_total", outcome="error") == 1
    for hint in (b"secret", b"bucket", b"127.0.0.1", b"S3"):
        assert hint not in reply.body
    assert origin.count() == 1
    assert hasty.store.entries == 0


async def test_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    with refusing_port() as port:
        async with Proxy(f"http://127.0.0.1:{port}", retries=1) as proxy:
            reply = await proxy.get("a")
    assert (reply.status, reply.cache_status) == (502, ["fwd=uri-miss", "detail=connect"])
    (record,) = of_origin(caplog)
    message = f"no connection to http://127.0.0.1:{port} (Connection refused); look at S3_ENDPOINT"
    assert message in record.getMessage()


async def test_a_name_that_does_not_resolve(caplog: pytest.LogCaptureFixture) -> None:
    async with Proxy("http://s3.invalid", retries=0) as proxy:
        assert (await proxy.get("a")).status == 502
    (record,) = of_origin(caplog)
    assert "the name does not resolve" in record.getMessage()


async def test_no_such_key_is_404_without_an_error(
    proxy: Proxy, caplog: pytest.LogCaptureFixture, count: Callable[..., float]
) -> None:
    reply = await proxy.get("a")
    assert (reply.status, reply.body) == (404, b"404 Not Found\n")
    assert reply.cache_status == ["fwd=uri-miss", "fwd-status=404", "stored"]
    assert reply.headers["cache-control"] == "max-age=5"
    assert of_origin(caplog) == []
    assert count("proxy_origin_requests_total", outcome="not_found") == 1


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion", "not_found", "KeyDoesNotExist"])
async def test_a_404_of_any_code_but_the_buckets_is_404(
    origin: ScriptedOrigin, proxy: Proxy, code: str
) -> None:
    origin.on("a", s3_error(404, code))
    assert (await proxy.get("a")).status == 404


async def test_access_denied_on_an_object_is_404_with_a_warning_and_a_label(
    origin: ScriptedOrigin,
    proxy: Proxy,
    caplog: pytest.LogCaptureFixture,
    count: Callable[..., float],
) -> None:
    origin.on("a", s3_error(403, "AccessDenied"))
    reply = await proxy.get("a")
    assert reply.status == 404
    assert "fwd-status=403" in reply.cache_status
    (record,) = of_origin(caplog)
    assert record.levelno == logging.WARNING
    assert count("proxy_origin_errors_total", reason="access_denied") == 1
    assert count("proxy_origin_requests_total", outcome="access_denied") == 1


async def test_an_error_document_that_arrives_in_pieces_is_read_whole(
    origin: ScriptedOrigin, hasty: Proxy
) -> None:
    # Else a wrong signature would look like an object that is not there.
    gate = origin.gate()
    document = s3_error(403, "SignatureDoesNotMatch")
    pieces = [document.body[:30], document.body[30:]]
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(document.body)
    from tests.origins import hold

    origin.on(
        "a",
        raw_bytes(head + pieces[0], then="keep"),
        hold(gate),
        raw_bytes(pieces[1], then="keep"),
    )
    waiting = hasty.begin("a")
    await origin.until_requests(1)
    gate.open()
    assert (await waiting).status == 502


async def test_an_endless_error_document_is_not_read_to_its_end(
    origin: ScriptedOrigin, proxy: Proxy
) -> None:
    origin.on("a", respond(404, b"x" * 10_000_000))
    assert (await proxy.get("a")).status == 404


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("text/html,*/*;q=0.8", "text/html"), ("*/*", "text/plain"), ("", "text/plain")],
)
async def test_bodies_are_short_and_html_where_that_is_wanted(
    proxy: Proxy, accept: str, kind: str
) -> None:
    reply = await proxy.get("a", f"Accept: {accept}")
    assert reply.headers["content-type"] == f"{kind}; charset=utf-8"
    assert len(reply.body) == int(reply.headers["content-length"]) < 200
    head = await proxy.get("a", f"Accept: {accept}", method="HEAD")
    assert (head.body, head.headers["content-length"]) == (b"", str(len(reply.body)))


async def test_retry_after_of_the_origin_is_passed_on(origin: ScriptedOrigin, hasty: Proxy) -> None:
    for told, sent in (("7", "7"), ("0", "1"), ("soon", "1"), ("99999999", "1")):
        origin.on("a", s3_error(503, "SlowDown", headers={"Retry-After": told}))
        assert (await hasty.get("a")).headers["retry-after"] == sent


FAILING = ("500", "SlowDown", "502", "closed", "reset", "silence", "401", "NoSuchBucket", "206")


@pytest.mark.parametrize("name", FAILING)
async def test_stale_if_error_within_and_past_its_window(
    origin: ScriptedOrigin, hasty: Proxy, clock: Clock, count: Callable[..., float], name: str
) -> None:
    step, status, fwd_status, reason, _ = FAILURES[name]
    origin.on("a", sequence(conditional(b"one", '"v1"'), step))
    await hasty.get("a")
    clock.advance(300 + 3599)
    reply = await hasty.get("a")
    assert (reply.status, reply.cache, reply.body) == (200, "STALE", b"one")
    told = [] if fwd_status is None else [f"fwd-status={fwd_status}"]
    assert reply.cache_status == ["fwd=stale", *told, "ttl=-3599", f"detail={reason}"]
    assert reply.headers["age"] == "3899"
    assert count("proxy_cache_stale_total") == 1
    clock.advance(1)
    assert (await hasty.get("a")).status == status


async def test_a_stand_in_is_still_subject_to_preconditions_and_ranges(
    origin: ScriptedOrigin, hasty: Proxy, clock: Clock
) -> None:
    origin.on("a", sequence(conditional(b"one", '"v1"'), respond(502)))
    await hasty.get("a")
    clock.advance(1000)
    assert (await hasty.get("a", 'If-None-Match: "v1"')).status == 304
    part = await hasty.get("a", "Range: bytes=1-1")
    assert (part.status, part.body) == (206, b"n")


async def test_an_absence_does_not_stand_in(
    origin: ScriptedOrigin, hasty: Proxy, clock: Clock
) -> None:
    origin.on("a", sequence(s3_error(404, "NoSuchKey"), respond(502)))
    await hasty.get("a")
    clock.advance(5)
    assert (await hasty.get("a")).status == 502


async def test_an_error_document_that_breaks_off_is_no_verdict(
    origin: ScriptedOrigin, hasty: Proxy
) -> None:
    origin.on("a", cut_after(10, s3_error(403, "SignatureDoesNotMatch")))
    assert (await hasty.get("a")).status == 502
