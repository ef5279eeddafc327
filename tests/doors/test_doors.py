"""One table of requests and answers, through every door."""

from __future__ import annotations

import itertools
import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING

import pytest

from tests.doors.cases import (
    BODY,
    CASES,
    ETAG,
    KEPT_BACK,
    LENGTH,
    MODIFIED,
    PASSED,
    Case,
)

if TYPE_CHECKING:
    from tests.doors.door import Door, Reply
    from tests.origins import ScriptedOrigin

_numbers = itertools.count(1)

# Differ from one answer to the next, whoever gives it.
VOLATILE = {"date", "age", "x-request-id"}
# Of the connection, not of the answer.
CONNECTION = {"connection", "transfer-encoding"}
ON_EVERY_ANSWER = {"x-cache", "cache-status", "x-request-id", "date"}
DESCRIBING = {name.lower() for name in PASSED} | {
    "etag", "last-modified", "accept-ranges", "x-content-type-options"
}  # fmt: skip
ON_NOT_MODIFIED = {"etag", "cache-control", "expires"}


@pytest.fixture(params=["hit", "miss"])
async def key(door: Door, request: pytest.FixtureRequest) -> str:
    """A key that is in memory already, or is not."""
    name = f"{request.param}-{next(_numbers)}"
    if request.param == "hit":
        await keep(door, f"/{name}")
    return name


async def keep(door: Door, target: str) -> None:
    """Have an object in memory; the last byte may be with the client before that."""
    for _ in range(100):
        if (await door.ask(target))["x-cache"] == "HIT":
            return
    raise AssertionError(f"{target} never became a hit")


def expected_body(case: Case, reply: Reply) -> bytes | None:
    if case.parts is None:
        return None
    slices = [BODY[first : last + 1] for first, last in case.parts]
    if len(slices) < 2:
        return b"".join(slices)
    boundary = (reply["content-type"] or "").partition("boundary=")[2]
    parts = [
        f"\r\n--{boundary}\r\nContent-Type: {PASSED['Content-Type']}\r\n"
        f"Content-Range: bytes {first}-{last}/{LENGTH}\r\n\r\n".encode()
        + BODY[first : last + 1]
        for first, last in case.parts
    ]
    return b"".join(parts) + f"\r\n--{boundary}--\r\n".encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
async def test_get(door: Door, key: str, case: Case) -> None:
    reply = await door.ask(f"/{key}", *case.fields)
    assert reply.status == case.status
    assert reply["x-cache"] == key.split("-", maxsplit=1)[0].upper()
    body = expected_body(case, reply)
    if body is not None:
        assert reply.body == body
    if case.status == 304:
        assert reply["content-length"] is None
    else:
        assert reply["content-length"] == str(len(reply.body))
    if case.status == 206 and len(case.parts or ()) == 1:
        [(first, last)] = case.parts or ()
        assert reply["content-range"] == f"bytes {first}-{last}/{LENGTH}"
    elif case.status == 416:
        assert reply["content-range"] == f"bytes */{LENGTH}"
    else:
        assert reply["content-range"] is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
async def test_head_has_the_headers_of_get_without_range(door: Door, key: str, case: Case) -> None:
    head = await door.ask(f"/{key}", *case.fields, method="HEAD")
    without_range = [field for field in case.fields if not field.startswith("Range:")]
    get = await door.ask(f"/{key}", *without_range)
    assert head.body == b""
    assert head.status == get.status
    varying = VOLATILE | CONNECTION | {"x-cache", "cache-status"}
    assert described(head, varying) == described(get, varying)


def described(reply: Reply, without: set[str]) -> dict[str, str]:
    return {name: value for name, value in reply.fields if name not in without}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.slug)
async def test_every_door_gives_the_same_answer(doors: dict[str, Door], case: Case) -> None:
    answers: dict[str, dict[str, object]] = {}
    for name, door in doors.items():
        target = f"/alike-{next(_numbers)}"
        for state in ("miss", "hit"):
            reply = await door.ask(target, *case.fields)
            answers.setdefault(state, {})[name] = comparable(reply)
            await keep(door, target)
    for by_door in answers.values():
        first, *others = by_door.values()
        for other in others:
            assert other == first


def comparable(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    boundary = re.search("boundary=([0-9a-f]+)", reply["content-type"] or "")
    random = boundary[1] if boundary else "-" * 32
    fields = {
        name: re.sub("ttl=[0-9]+", "ttl=", value.replace(random, "boundary"))
        for name, value in reply.fields
        if name not in VOLATILE | CONNECTION
    }
    return reply.status, fields, reply.body.replace(random.encode(), b"boundary")


async def test_hit_miss_head_and_part_have_the_same_set_of_headers(door: Door, key: str) -> None:
    get = await door.ask(f"/{key}")
    head = await door.ask(f"/{key}", method="HEAD")
    part = await door.ask(f"/{key}", "Range: bytes=0-4")
    expected = DESCRIBING | ON_EVERY_ANSWER | {"content-length"}
    for reply, more in ((get, set()), (head, set()), (part, {"content-range"})):
        assert reply.names - CONNECTION - {"age"} == expected | more
    for name in PASSED:
        sent = PASSED[name].encode("latin-1").decode("latin-1")
        assert (get[name.lower()], part[name.lower()]) == (sent, sent)
    assert (get["etag"], get["last-modified"]) == (ETAG, MODIFIED)


async def test_not_modified_has_the_applicable_ones(door: Door, key: str) -> None:
    reply = await door.ask(f"/{key}", f"If-None-Match: {ETAG}")
    assert reply.names - CONNECTION - {"age"} == ON_NOT_MODIFIED | ON_EVERY_ANSWER


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Range: bytes=0-4",),
        (f"If-None-Match: {ETAG}",),
        ('If-Match: "x"',),
        ("Range: bytes=5000-",),
    ],
)
async def test_no_other_header_of_s3_leaks(door: Door, key: str, fields: tuple[str, ...]) -> None:
    reply = await door.ask(f"/{key}", *fields)
    assert reply.names.isdisjoint(name.lower() for name in KEPT_BACK)


async def test_age_is_told_of_what_was_stored(door: Door, key: str) -> None:
    reply = await door.ask(f"/{key}")
    assert (reply["age"] is not None) == key.startswith("hit")
    assert re.fullmatch("s3proxy; (hit; ttl=[0-9]+|fwd=uri-miss; fwd-status=200; stored)",
                        reply["cache-status"] or "")  # fmt: skip


async def test_request_ids_differ(door: Door, key: str) -> None:
    ids = {(await door.ask(f"/{key}"))["x-request-id"] for _ in range(3)}
    assert len(ids - {None}) == 3


async def test_several_parts_can_be_read_by_a_mime_parser(door: Door, key: str) -> None:
    reply = await door.ask(f"/{key}", "Range: bytes=0-9,100-109")
    head = f"Content-Type: {reply['content-type']}\r\n\r\n".encode()
    parsed = BytesParser(policy=HTTP).parsebytes(head + reply.body)
    parts = list(parsed.iter_parts())
    assert [part["Content-Range"] for part in parts] == ["bytes 0-9/1000", "bytes 100-109/1000"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/missing", 404),
        ("HEAD", "/missing", 404),
        ("GET", "/", 404),
        ("GET", "/a%00b", 400),
        ("HEAD", "/a%ff", 400),
        ("GET", "/" + "k" * 1025, 414),
        ("POST", "/a", 405),
        ("GET", "/only-if-cached", 504),
    ],
)
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/plain; charset=utf-8"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.5, text/plain", "text/plain; charset=utf-8"),
    ],
    ids=["any", "browser", "plain"],
)
async def test_errors_are_short_and_say_nothing_of_s3(
    door: Door,
    world: ScriptedOrigin,
    method: str,
    target: str,
    status: int,
    accept: str,
    content_type: str,
) -> None:
    extra = ("Cache-Control: only-if-cached",) if status == 504 else ()
    reply = await door.ask(target, f"Accept: {accept}", *extra, method=method)
    assert (reply.status, reply["content-type"]) == (status, content_type)
    told = repr(reply).encode()
    for secret in (world.bucket, str(world.port), "NoSuchKey", "127.0.0.1"):
        assert secret.encode() not in told
    if method == "HEAD":
        assert reply.body == b""
        assert int(reply["content-length"] or 0) > 0
    else:
        assert 0 < len(reply.body) < 500
        assert str(status).encode() in reply.body


@pytest.mark.parametrize("field", ["If-None-Match: *", "If-Match: *", "Range: bytes=0-1"])
async def test_preconditions_do_not_change_an_error(door: Door, field: str) -> None:
    assert (await door.ask("/missing", field)).status == 404
