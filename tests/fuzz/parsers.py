"""What every parser of proxy/core has to hold for any input."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from proxy.core import error_page, http_date, preconditions, ranges, vary
from proxy.core.cache_control import RequestDirectives, ResponseDirectives
from proxy.core.cache_key import InvalidTarget, key_from_purge, object_key
from proxy.core.messages import Request
from proxy.core.preconditions import Conditions
from proxy.core.ranges import ByteRange
from proxy.core.storability import assess, freshen
from tests.core.responses import NOW, POLICY, origin_head, stored_response

if TYPE_CHECKING:
    from collections.abc import Callable

_FIELDS = (
    "age", "cache-control", "connection", "content-disposition", "content-encoding", "content-type", "date", "etag",
    "expires", "last-modified", "vary", "x-amz-meta-a", "pragma",
)  # fmt: skip
_OF_A_REQUEST = (
    b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
    b"cache-control", b"pragma", b"accept", b"authorization",
)  # fmt: skip
_CONTROLS = frozenset(range(32)) - {9} | {127}
_LENGTH = 1000


def _is_one_of(status: int, *documented: int) -> None:
    assert status in documented


def _cache_key(value: str) -> None:
    try:
        key = object_key(b"/" + value.encode("latin-1"), "p/")
        assert key.startswith("p/")
        assert not {".", ".."} & set(key.split("/"))
        assert len(key.encode()) <= 1024
    except InvalidTarget as refused:
        _is_one_of(refused.status, 400, 404, 414)
    try:
        assert 0 < len(key_from_purge(value, "p/").encode()) <= 1024
    except InvalidTarget as refused:
        _is_one_of(refused.status, 400, 404, 414)


def _cache_control(value: str) -> None:
    ResponseDirectives.parse([value, value])
    RequestDirectives.parse([value], [value])


def _preconditions(value: str) -> None:
    stored = stored_response()
    for conditions in (
        Conditions(if_match=value),
        Conditions(if_none_match=value),
        Conditions(if_modified_since=value),
        Conditions(if_unmodified_since=value),
    ):
        preconditions.evaluate(
            conditions, etag=stored.etag, last_modified=NOW, stored_date=NOW, now=NOW
        )
    preconditions.if_range_holds(value, etag=stored.etag, last_modified=NOW, date=NOW)


def _ranges(value: str) -> None:
    for text in (value, f"bytes={value}"):
        parts = ranges.select(text, _LENGTH)
        if isinstance(parts, tuple):
            assert parts
            assert all(isinstance(part, ByteRange) for part in parts)
            assert all(0 <= part.first <= part.last < _LENGTH for part in parts)
            assert sum(part.length for part in parts) <= 2 * _LENGTH
    ranges.parse_content_range(value)
    ranges.parse_content_range(f"bytes {value}")


def _http_date(value: str) -> None:
    moment = http_date.parse_http_date(value, NOW)
    assert moment is None or math.isfinite(moment)
    if moment is not None and moment >= 0:
        assert http_date.parse_http_date(http_date.format_http_date(moment), NOW) == moment


def _vary(value: str) -> None:
    asked = ((b"accept", value.encode("latin-1")), (value.encode("latin-1"), b"x"))
    selecting = vary.vary_of([value], asked)
    if selecting is not None:
        selecting.selects(asked)
        assert selecting.size >= 0


def _storability(value: str) -> None:
    for status in (200, 404, 304, 500):
        head = origin_head(*((name, value) for name in _FIELDS), status=status)
        assessment = assess(head, POLICY, length=3)
        for name, sent in assessment.response.fields:
            assert not _CONTROLS & set(sent), f"{name!r} has a control character"
        assert math.isfinite(assessment.response.freshness.lifetime)
        assert assessment.response.freshness.lifetime >= 0
        assert assessment.response.initial_age >= 0
        freshen(stored_response(), origin_head(("cache-control", value), ("date", value)), POLICY)


def _request(value: str) -> None:
    raw = value.encode("latin-1")
    Request.from_fields("GET", "a", [(name, raw) for name in _OF_A_REQUEST])


def _error_page(value: str) -> None:
    head = error_page.error_page(404, "GET", value)
    body = b"".join(part for part in head.segments if isinstance(part, bytes))
    assert body == b"404 Not Found\n" or b"<h1>404 Not Found</h1>" in body


PARSERS: dict[str, Callable[[str], None]] = {
    "cache_key": _cache_key,
    "cache_control": _cache_control,
    "preconditions": _preconditions,
    "ranges": _ranges,
    "http_date": _http_date,
    "vary": _vary,
    "storability": _storability,
    "messages": _request,
    "error_page": _error_page,
}
