"""The table of origin faults: what the origin does, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Literal, TypeAlias

from tests.origins import (
    ScriptedOrigin,
    Step,
    black_hole,
    close_before_reply,
    conditional,
    cut_after,
    drip,
    half_head,
    pause,
    raw_bytes,
    redirect,
    respond,
    s3_error,
    sequence,
    unaccepting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the proxy under test is configured with.
TIMEOUT = 0.5
ENVIRON = {
    "REQUEST_TIMEOUT": "500ms",
    "S3_RETRIES": "1",
    "MAX_OBJECT_SIZE": "64KiB",
    "CACHE_STALE_TTL": "0s",
}

BODY = b"0123456789" * 20
LARGE = bytes(range(256)) * 1024
HTML = {"Content-Type": "text/html; charset=utf-8"}
XML = {"Content-Type": "application/xml"}
CHUNKED = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"
PORTAL = b"<!doctype html><title>Welcome to our guests' network</title>"
ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code></Error>'

Fault: TypeAlias = Callable[[ScriptedOrigin], AbstractContextManager[None]]
# What a client takes a reply for: complete, ended before its end, or none at all.
Outcome: TypeAlias = Literal["whole", "broken"]
# What is remembered: nothing (or nothing fresh), the response, that there is none.
Stored: TypeAlias = Literal["nothing", "object", "absence"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row. ``does`` is the origin's script for the key, or breaks the whole origin.

    ``status`` None: the client sees its connection end, be it before or after the head.
    ``reason`` is the one in log and metric, ``variable`` the one that the log names.
    """

    name: str
    does: tuple[Step, ...] | Fault
    status: int | None
    reason: str | None = None
    variable: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    stored: Stored = "nothing"
    # How many requests the origin sees, and how many count as retries.
    asked: int = 1
    retries: int = 0
    # Of a request for parts of an object too large to store, whose head is known.
    parts: str | None = None

    @property
    def slug(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)


@contextmanager
def refuses(origin: ScriptedOrigin) -> Iterator[None]:
    origin.go_down()
    try:
        yield
    finally:
        origin.come_back()


@contextmanager
def never_accepts(origin: ScriptedOrigin) -> Iterator[None]:
    origin.go_down()
    try:
        with unaccepting(origin.port):
            yield
    finally:
        origin.come_back()


def raw(head: str, body: bytes = b"") -> Step:
    """A response byte for byte, after which the connection ends."""
    return raw_bytes(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)


def fields(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"x-amz-meta-{number}", "v") for number in range(count))


def dated(offset: float) -> dict[str, str]:
    import time

    return {"Date": formatdate(time.time() + offset, usegmt=True), "ETag": '"v1"'}


def failing(name: str, does: Step, status: int, reason: str, variable: str | None = None) -> Case:
    return Case(name, (does,), status, reason, variable)


def misconfigured(status: int, code: str, variable: str) -> Case:
    return failing(f"{status} {code}", s3_error(status, code), 502, "misconfigured", variable)


def broken(name: str, *does: Step, reason: str = "broken_body") -> Case:
    return Case(name, does, None, reason)


def sent(name: str, *does: Step) -> Case:
    return Case(name, does, 200, body=BODY, stored="object")


def part(
    name: str,
    does: Step,
    status: int | None,
    reason: str | None = None,
    *,
    body: bytes | None = None,
    parts: str = "bytes=10-19",
    asked: int = 1,
    variable: str | None = None,
) -> Case:
    return Case(name, (does,), status, reason, variable, body=body, parts=parts, asked=asked)


RETRY_1 = (("Retry-After", "1"),)
DESCRIBED = {"ETag": '"v1"', "Accept-Ranges": "bytes"}


def ranged(first: int, last: int, etag: str = '"v1"') -> dict[str, str]:
    return {"ETag": etag, "Content-Range": f"bytes {first}-{last}/{len(LARGE)}"}


CONNECTING = [
    Case("refuses connections", refuses, 502, "connect", "S3_ENDPOINT", asked=0, retries=1),
    Case("never accepts a connection", never_accepts, 504, "timeout", asked=0),
    failing("accepts and says nothing", black_hole(), 504, "timeout"),
    failing("half a head", half_head(), 504, "timeout"),
    Case(
        "a head that comes too slowly",
        (
            raw_bytes(b"HTTP/1.1 200 OK\r\n", "keep"),
            pause(0.3),
            raw_bytes(b"Content-Length: 1\r\n", "keep"),
            pause(0.3),
            raw_bytes(b"\r\nx"),
        ),
        504,
        "timeout",
    ),
    Case(
        "closes without a word",
        (close_before_reply(),),
        502,
        "connect",
        "S3_ENDPOINT",
        asked=3,
        retries=1,
    ),
    Case(
        "closes a kept connection just then",
        (sequence(close_before_reply(), respond(body=BODY)),),
        200,
        body=BODY,
        stored="object",
        asked=2,
    ),
    Case(
        "resets a kept connection just then",
        (sequence(close_before_reply(reset=True), respond(body=BODY)),),
        200,
        body=BODY,
        stored="object",
        asked=2,
    ),
]

FRAMING = [
    sent("drips faster than the timeout", drip(BODY, 25, interval=TIMEOUT / 5)),
    broken(
        "drips slower than the timeout", drip(BODY, 100, interval=TIMEOUT * 3), reason="timeout"
    ),
    broken("ends within the body", cut_after(100, respond(body=BODY))),
    broken("resets within the body", cut_after(100, respond(body=BODY), reset=True)),
    failing(
        "Content-Length too small",
        raw(f"HTTP/1.1 200 OK\nContent-Length: {len(BODY) - 1}", BODY),
        502,
        "unexpected",
    ),
    broken(
        "Content-Length too small, seen later",
        raw_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "keep"),
        pause(0.1),
        raw_bytes(b"lo, you", "keep"),
    ),
    broken("Content-Length too large", respond(body=BODY, content_length=len(BODY) + 1)),
    sent("no Content-Length, ends well", respond(body=BODY, content_length="missing")),
    broken(
        "no Content-Length, ends with a reset",
        raw_bytes(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, "keep"),
        pause(0.2),
        raw_bytes(b"", "reset"),
    ),
    failing(
        "Content-Length that is no number",
        raw("HTTP/1.1 200 OK\nContent-Length: ten", BODY),
        502,
        "unexpected",
    ),
    failing(
        "two Content-Length",
        raw("HTTP/1.1 200 OK\nContent-Length: 200\nContent-Length: 100", BODY),
        502,
        "unexpected",
    ),
    failing(
        "Content-Length beside chunks",
        raw(
            "HTTP/1.1 200 OK\nContent-Length: 3\nTransfer-Encoding: chunked",
            b"3\r\nabc\r\n0\r\n\r\n",
        ),
        502,
        "unexpected",
    ),
    sent("chunks", respond(body=BODY, chunked=True)),
    failing(
        "a chunk size that is none",
        raw(CHUNKED, b"5\r\nhello\r\nxyz\r\nhello\r\n0\r\n\r\n"),
        502,
        "unexpected",
    ),
    broken(
        "a chunk size that is none, seen later",
        raw_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "keep"),
        pause(0.1),
        raw_bytes(b"xyz\r\nhello\r\n0\r\n\r\n"),
    ),
    failing(
        "a chunk size beyond all numbers",
        raw(CHUNKED, b"5\r\nhello\r\n" + b"f" * 40 + b"\r\nx"),
        502,
        "unexpected",
    ),
    broken(
        "chunks without an end",
        raw(CHUNKED, b"5\r\nhello\r\n"),
    ),
    broken("ends within a chunk", cut_after(100, respond(body=BODY, chunked=True))),
    failing("not HTTP", raw_bytes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), 502, "unexpected"),
    failing("HTTP 0.9", raw_bytes(BODY), 502, "unexpected"),
    sent(
        "interim responses before",
        raw_bytes(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "keep"),
        respond(body=BODY),
    ),
]

ANSWERS = [
    Case(
        "500",
        (s3_error(500, "InternalError"),),
        503,
        "server_error",
        headers=RETRY_1,
        asked=2,
        retries=1,
    ),
    Case(
        "503 SlowDown",
        (s3_error(503, "SlowDown"),),
        503,
        "throttled",
        headers=RETRY_1,
        asked=2,
        retries=1,
    ),
    Case(
        "503 with Retry-After",
        (s3_error(503, "SlowDown", headers={"Retry-After": "7"}),),
        503,
        "throttled",
        headers=(("Retry-After", "7"),),
    ),
    Case(
        "503 with a date to retry after",
        (s3_error(503, "SlowDown", headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}),),
        503,
        "throttled",
        headers=RETRY_1,
        asked=2,
        retries=1,
    ),
    Case("429", (respond(429),), 503, "throttled", headers=RETRY_1),
    failing("502", respond(502), 502, "server_error"),
    failing("504", respond(504), 502, "server_error"),
    failing("511 of a captive portal", respond(511, PORTAL, HTML), 502, "server_error"),
    failing("401", respond(401), 502, "misconfigured", "S3_ACCESS_KEY"),
    misconfigured(403, "InvalidAccessKeyId", "S3_ACCESS_KEY"),
    misconfigured(403, "AccountProblem", "S3_ACCESS_KEY"),
    misconfigured(403, "NotSignedUp", "S3_ACCESS_KEY"),
    misconfigured(403, "SignatureDoesNotMatch", "S3_SECRET_KEY"),
    misconfigured(403, "RequestTimeTooSkewed", "clock"),
    misconfigured(403, "RequestExpired", "clock"),
    misconfigured(403, "AllAccessDisabled", "S3_BUCKET"),
    misconfigured(403, "UnauthorizedAccess", "S3_CREDENTIALS"),
    misconfigured(400, "ExpiredToken", "S3_SESSION_TOKEN"),
    misconfigured(403, "ExpiredToken", "S3_SESSION_TOKEN"),
    misconfigured(400, "InvalidToken", "S3_SESSION_TOKEN"),
    misconfigured(400, "AuthorizationHeaderMalformed", "S3_REGION"),
    misconfigured(404, "NoSuchBucket", "S3_BUCKET"),
    failing("403 InvalidObjectState", s3_error(403, "InvalidObjectState"), 502, "unexpected"),
    failing("400 of an unknown code", s3_error(400, "Whatever"), 502, "unexpected"),
    Case(
        "403 AccessDenied", (s3_error(403, "AccessDenied"),), 404, "access_denied", stored="absence"
    ),
    Case("403 without a document", (respond(403),), 404, "access_denied", stored="absence"),
    failing("403 with a page", respond(403, PORTAL, HTML), 502, "unexpected", "S3_ENDPOINT"),
    Case("404 NoSuchKey", (s3_error(404, "NoSuchKey"),), 404, stored="absence"),
    Case("404 without XML", (respond(404, b"nothing here"),), 404, stored="absence"),
    Case("410", (respond(410),), 410),
    failing(
        "301 to another region",
        redirect("http://127.0.0.1:9/", 301, "PermanentRedirect"),
        502,
        "misconfigured",
        "S3_REGION",
    ),
    failing(
        "307 to another region", redirect("http://127.0.0.1:9/"), 502, "misconfigured", "S3_REGION"
    ),
    failing(
        "302 to a captive portal",
        respond(302, b"", {"Location": "http://127.0.0.1:9/login"}),
        502,
        "misconfigured",
        "S3_REGION",
    ),
    failing(
        "200 of a captive portal", respond(200, PORTAL, HTML), 502, "unexpected", "S3_ENDPOINT"
    ),
    Case(
        "200 of a portal with an entity tag",
        (respond(200, PORTAL, HTML | DESCRIBED),),
        200,
        body=PORTAL,
        stored="object",
    ),
    failing("200 with an error inside", respond(200, ERROR, XML), 502, "server_error"),
    failing(
        "200 with an error inside, dripped",
        drip(ERROR, 7, interval=0.01, headers=XML),
        502,
        "server_error",
    ),
    Case(
        "200 with an object that looks like an error",
        (respond(200, ERROR, XML | DESCRIBED),),
        200,
        body=ERROR,
        stored="object",
    ),
    Case(
        "200 with other XML",
        (respond(200, b"<a>" + BODY + b"</a>", XML),),
        200,
        body=b"<a>" + BODY + b"</a>",
        stored="object",
    ),
    failing("204", respond(204), 502, "unexpected"),
    failing("304 unasked for", respond(304), 502, "unexpected", "S3_ENDPOINT"),
    failing(
        "206 unasked for",
        respond(206, BODY[:10], {"Content-Range": "bytes 0-9/200"}),
        502,
        "unexpected",
        "S3_ENDPOINT",
    ),
]

FIELDS = [
    failing(
        "NUL in a field",
        raw("HTTP/1.1 200 OK\nx-amz-meta-a: a\0b\nContent-Length: 0"),
        502,
        "unexpected",
    ),
    failing(
        "a bare CR in a field",
        raw("HTTP/1.1 200 OK\nx-amz-meta-a: a\rSet-Cookie: b\nContent-Length: 0"),
        502,
        "unexpected",
    ),
    failing(
        "a control character in a field",
        raw(f"HTTP/1.1 200 OK\nx-amz-meta-a: a\x01b\nContent-Length: {len(BODY)}", BODY),
        502,
        "unexpected",
    ),
    failing(
        "a field of 64 KiB", respond(200, BODY, {"x-amz-meta-a": "a" * 65536}), 502, "unexpected"
    ),
    failing("thousands of fields", respond(200, BODY, fields(3000)), 502, "unexpected"),
    sent("hundreds of fields", respond(200, BODY, fields(400))),
    sent("a field of 8 KiB", respond(200, BODY, {"x-amz-meta-a": "a" * 8192})),
    sent("Date an hour ahead", respond(200, BODY, dated(3600))),
    Case("Date an hour back", (respond(200, BODY, dated(-3600)),), 200, body=BODY),
    sent("Date that is none", respond(200, BODY, {"Date": "yesterday"})),
]

WHOLE = respond(200, LARGE, DESCRIBED)
PARTS = [
    part("a part", conditional(LARGE, '"v1"'), 206, body=LARGE[10:20]),
    part("the whole instead of a part", WHOLE, 206, body=LARGE[10:20]),
    part("the whole instead of the last part", WHOLE, 206, body=LARGE[-10:], parts="bytes=-10"),
    part(
        "the whole of another version instead of a part",
        respond(200, LARGE[1:], {"ETag": '"v2"'}),
        200,
        body=LARGE[1:],
        asked=2,
    ),
    part(
        "a part of another version",
        respond(206, LARGE[10:20], ranged(10, 19, '"v2"')),
        502,
        "unexpected",
        asked=2,
        variable="S3_ENDPOINT",
    ),
    part(
        "another part",
        respond(206, LARGE[:10], ranged(0, 9)),
        502,
        "unexpected",
        variable="S3_ENDPOINT",
    ),
    part(
        "a part without Content-Range",
        respond(206, LARGE[10:20], DESCRIBED),
        502,
        "unexpected",
        variable="S3_ENDPOINT",
    ),
    part(
        "a part shorter than it says",
        respond(206, LARGE[10:15], ranged(10, 19)),
        None,
        "broken_body",
    ),
    part(
        "a part longer than it says",
        respond(206, LARGE[10:30], ranged(10, 19)),
        None,
        "broken_body",
    ),
    part(
        "a part cut off",
        cut_after(5, respond(206, LARGE[10:20], ranged(10, 19))),
        None,
        "broken_body",
    ),
    part(
        "a second part of another version",
        sequence(conditional(LARGE, '"v1"'), conditional(LARGE[1:], '"v2"')),
        None,
        parts="bytes=0-9, 200000-200009",
        asked=2,
    ),
    part(
        "412 for a part, the new version after",
        conditional(LARGE[1:], '"v2"'),
        200,
        body=LARGE[1:],
        asked=2,
    ),
]

CASES = CONNECTING + FRAMING + ANSWERS + FIELDS + PARTS
