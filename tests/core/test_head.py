"""Status, fields and segments of answers: RFC 9110 §8, §14, §15."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.answer import from_memory
from proxy.core.cache_status import CacheStatus, Forward, Handling
from proxy.core.freshness import Freshness
from proxy.core.head import answer, of_whole, refusal
from proxy.core.messages import EVERYTHING
from proxy.core.preconditions import Conditions
from proxy.core.ranges import ByteRange
from tests.core.responses import asking, stored_response

if TYPE_CHECKING:
    from proxy.core.messages import Head, Request, StoredResponse

HIT = Handling(CacheStatus.HIT, ttl=60)
MISS = Handling(CacheStatus.MISS, fwd=Forward.URI_MISS, fwd_status=200)
ADDED = {
    b"age": b"40",
    b"x-cache": b"HIT",
    b"cache-status": b"s3proxy; hit; ttl=60",
}


def made(request: Request, stored: StoredResponse | None = None, handling: Handling = HIT) -> Head:
    head = answer(request, stored or stored_response(), handling, age=40.9, boundary="BOUNDARY")
    names = [name for name, _ in head.fields]
    assert len(names) == len(set(names))
    return head


@pytest.mark.parametrize("nosniff", [True, False])
def test_a_whole_answer_is_the_stored_fields_then_its_own_then_the_caches(nosniff: bool) -> None:
    stored = stored_response()
    told = ((b"x-cache", b"HIT"),)
    head = answer(asking(), stored, HIT, age=1.0, boundary="", nosniff=nosniff, told=told)
    assert head.fields == (*stored.fields, *of_whole(10, nosniff=nosniff), *told)


def body(head: Head) -> bytes:
    return bytes(from_memory(head.segments, b"0123456789"))


def test_15_3_1_the_whole() -> None:
    head = made(asking())
    assert (head.status, head.segments) == (200, (ByteRange(0, 9),))
    assert dict(head.fields) == ADDED | {
        b"content-type": b"text/plain",
        b"etag": b'"v1"',
        b"date": b"then",
        b"content-length": b"10",
    }


def test_9_3_2_head_has_the_fields_of_get_and_no_body() -> None:
    head = made(asking(method="HEAD"))
    assert head.fields == made(asking()).fields
    assert head.segments == ()
    assert not head.needs_representation


def test_an_empty_object() -> None:
    head = made(asking(), stored_response(body=b"", length=0))
    assert (head.status, head.segments) == (200, ())
    assert dict(head.fields)[b"content-length"] == b"0"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_length_that_is_not_known_yet(method: str) -> None:
    head = made(asking(method=method, range="bytes=0-1"), stored_response(body=None, length=None))
    assert head.status == 200
    assert b"content-length" not in dict(head.fields)
    assert head.segments == ((EVERYTHING,) if method == "GET" else ())


def test_15_4_5_not_modified() -> None:
    conditions = Conditions(if_none_match='"v1"')
    stored = stored_response(
        fields=(
            (b"content-type", b"text/plain"),
            (b"cache-control", b"max-age=1"),
            (b"etag", b'"v1"'),
            (b"last-modified", b"then"),
            (b"x-amz-meta-a", b"b"),
            (b"accept-ranges", b"bytes"),
            (b"date", b"now"),
        )
    )
    head = made(asking(conditions=conditions, range="bytes=0-1"), stored)
    assert (head.status, head.segments) == (304, ())
    assert dict(head.fields) == ADDED | {
        b"cache-control": b"max-age=1",
        b"etag": b'"v1"',
        b"date": b"now",
    }


def test_15_4_5_last_modified_where_there_is_no_entity_tag() -> None:
    conditions = Conditions(if_modified_since="Tue, 14 Nov 2023 22:13:20 GMT")
    stored = stored_response(
        etag=None, last_modified=1_000.0, fields=((b"last-modified", b"then"),)
    )
    head = made(asking(conditions=conditions), stored)
    assert head.status == 304
    assert dict(head.fields)[b"last-modified"] == b"then"


@pytest.mark.parametrize(
    ("handling", "since", "status"),
    [
        (HIT, "Tue, 14 Nov 2023 22:13:20 GMT", 304),
        (HIT, "Tue, 14 Nov 2023 22:13:19 GMT", 200),
        # §13.1.3: it was not stored before, so it has no date of modification at all.
        (MISS, "Tue, 14 Nov 2023 22:13:20 GMT", 200),
    ],
)
def test_9111_4_3_2_the_date_stands_for_a_modification_that_is_not_told(
    handling: Handling, since: str, status: int
) -> None:
    request = asking(conditions=Conditions(if_modified_since=since))
    assert made(request, handling=handling).status == status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_15_5_13_precondition_failed(method: str) -> None:
    head = made(asking(method=method, conditions=Conditions(if_match='"v2"')))
    assert head.status == 412
    fields = dict(head.fields)
    assert fields[b"cache-control"] == b"no-store"
    assert b"etag" not in fields
    assert body(head) == (b"412 Precondition Failed\n" if method == "GET" else b"")


def test_15_3_7_1_a_single_part() -> None:
    head = made(asking(range="bytes=2-4"))
    assert (head.status, body(head)) == (206, b"234")
    fields = dict(head.fields)
    assert fields[b"content-range"] == b"bytes 2-4/10"
    assert fields[b"content-length"] == b"3"
    assert fields[b"content-type"] == b"text/plain"


def test_15_3_7_2_several_parts() -> None:
    head = made(asking(range="bytes=0-1,-2"))
    fields = dict(head.fields)
    assert head.status == 206
    assert fields[b"content-type"] == b"multipart/byteranges; boundary=BOUNDARY"
    assert b"content-range" not in fields
    text = (
        b"\r\n--BOUNDARY\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--BOUNDARY\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
        b"\r\n--BOUNDARY--\r\n"
    )
    assert body(head) == text
    assert fields[b"content-length"] == b"%d" % len(text)


def test_15_3_7_2_parts_of_an_object_without_a_type() -> None:
    head = made(asking(range="bytes=0-1,-2"), stored_response(fields=()))
    assert b"Content-Type" not in body(head)


def test_15_5_17_range_not_satisfiable() -> None:
    head = made(asking(range="bytes=10-"))
    assert (head.status, dict(head.fields)[b"content-range"]) == (416, b"bytes */10")


def test_14_2_head_ignores_range() -> None:
    assert made(asking(method="HEAD", range="bytes=2-4")).status == 200


@pytest.mark.parametrize(("if_range", "status"), [('"v1"', 206), ('"v2"', 200), ("junk", 200)])
def test_13_1_5_if_range(if_range: str, status: int) -> None:
    assert made(asking(range="bytes=2-4", if_range=if_range)).status == status


@pytest.mark.parametrize(
    ("freshness", "told"),
    [
        (Freshness(5.0), b"max-age=5"),
        (Freshness(5.9), b"max-age=5"),
        (Freshness(0.0), b"no-store"),
        (Freshness(0.5), b"no-store"),
        (Freshness(5.0, no_cache=True), b"no-store"),
    ],
)
def test_a_stored_absence(freshness: Freshness, told: bytes) -> None:
    absent = stored_response(
        status=404, fields=((b"date", b"then"),), body=b"", length=0, freshness=freshness
    )
    head = made(asking(conditions=Conditions(if_none_match="*"), range="bytes=0-1"), absent)
    assert (head.status, body(head)) == (404, b"404 Not Found\n")
    assert dict(head.fields)[b"cache-control"] == told
    assert dict(head.fields)[b"age"] == b"40"


def test_what_arrived_just_now_has_no_age_unless_it_was_old_on_arrival() -> None:
    for age, told in ((0.0, None), (0.99, None), (7.0, b"7")):
        head = answer(asking(), stored_response(), MISS, age=age, boundary="B")
        assert dict(head.fields).get(b"age") == told


def test_a_refusal() -> None:
    head = refusal(asking(), 503, MISS, ((b"retry-after", b"1"),))
    fields = dict(head.fields)
    assert (head.status, fields[b"retry-after"], fields[b"x-cache"]) == (503, b"1", b"MISS")
    assert b"age" not in fields
    assert b"x-cache" not in dict(refusal(asking(), 400, None).fields)


def test_nosniff_is_on_an_object_and_its_parts_and_can_be_left_out() -> None:
    field = (b"x-content-type-options", b"nosniff")
    for request in (asking(), asking(method="HEAD"), asking(range="bytes=0-1")):
        for wanted in (True, False):
            head = answer(
                request, stored_response(), HIT, age=1, boundary="BOUNDARY", nosniff=wanted
            )
            assert head.fields.count(field) == wanted
