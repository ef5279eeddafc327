"""From a decision to the status, header fields and body segments of an answer."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from proxy.core import ranges
from proxy.core.cache_status import CacheStatus
from proxy.core.error_page import error_page
from proxy.core.messages import EVERYTHING, Head, Segment
from proxy.core.preconditions import NO_CONDITIONS, Outcome, evaluate, if_range_holds
from proxy.core.ranges import ByteRange, NotSatisfiable

if TYPE_CHECKING:
    from proxy.core.cache_status import Handling
    from proxy.core.messages import Fields, Request, StoredResponse

_OK, _PARTIAL, _NOT_MODIFIED = 200, 206, 304

# RFC 9110 §15.4.5: what a 304 carries of the 200 it stands for. Last-Modified only guides a
# cache where there is no entity tag.
_ON_NOT_MODIFIED = frozenset({b"cache-control", b"date", b"etag", b"expires"})

# Browsers then take an object for what its Content-Type says, and for nothing that runs.
_NOSNIFF = (b"x-content-type-options", b"nosniff")

# A tuple: to look one up in a set takes Enum's hash, a call of Python's.
_NOT_STORED_BEFORE = (CacheStatus.MISS, CacheStatus.BYPASS)


def answer(
    request: Request,
    stored: StoredResponse,
    handling: Handling,
    *,
    age: float,
    boundary: str,
    nosniff: bool = False,
    told: Fields | None = None,
) -> Head:
    """The answer that a stored (or arriving) response gives to a request.

    ``age`` in seconds; it is not sent where a response came from the origin just now.
    ``boundary`` separates the parts of a multipart/byteranges body. ``nosniff`` is for objects
    alone, whose type somebody else chose. ``told`` is cache_fields(), where it is known already.
    """
    added = cache_fields(handling, age) if told is None else told
    if stored.status != _OK:
        # RFC 9110 §13.2.1: preconditions do not apply where the answer would be an error.
        return error_page(
            stored.status,
            request.method,
            request.accept,
            (*stored.fields, *_negative_freshness(stored), *added),
        )
    # RFC 9110 §13.2.2 orders the steps: preconditions first, then Range.
    if request.conditions is not NO_CONDITIONS:
        outcome = evaluate(
            request.conditions,
            etag=stored.etag,
            last_modified=stored.last_modified,
            stored_date=None if handling.status in _NOT_STORED_BEFORE else stored.date,
            now=stored.response_time + age - stored.initial_age,
        )
        if outcome is Outcome.NOT_MODIFIED:
            return _not_modified(stored, added)
        if outcome is Outcome.PRECONDITION_FAILED:
            return error_page(412, request.method, request.accept, added)

    added = (*_of_object(nosniff=nosniff), *added)
    selected = _selected(request, stored)
    if selected is None or stored.length is None:
        return _whole(request, stored, added)
    if isinstance(selected, NotSatisfiable):
        unsatisfied = (b"content-range", b"bytes */%d" % stored.length)
        return error_page(416, request.method, request.accept, (unsatisfied, *added))
    if len(selected) == 1:
        return _single_part(selected[0], stored, stored.length, added)
    return _several_parts(selected, stored, stored.length, added, boundary)


def of_whole(length: int, *, nosniff: bool) -> Fields:
    """What stands between the stored fields of a 200 with its whole body and cache_fields()."""
    content_length, _ = _of_length(length)
    return (content_length, *_of_object(nosniff=nosniff))


def refusal(request: Request, status: int, handling: Handling | None, extra: Fields = ()) -> Head:
    """An answer without a stored response: an error of the origin's or of the request's."""
    added = () if handling is None else cache_fields(handling, None)
    return error_page(status, request.method, request.accept, (*extra, *added))


def cache_fields(handling: Handling, age: float | None) -> Fields:
    """Age, X-Cache and Cache-Status."""
    told = (
        (b"x-cache", handling.status.value.encode("ascii")),
        (b"cache-status", handling.member().encode("latin-1")),
    )
    # A response that arrived just now has an Age only where it was old on arrival.
    if age is None or (handling.fwd is not None and age < 1):
        return told
    return ((b"age", b"%d" % age), *told)


def _of_object(*, nosniff: bool) -> Fields:
    return (_NOSNIFF,) if nosniff else ()


def _negative_freshness(stored: StoredResponse) -> Fields:
    # Without it a downstream cache would choose a lifetime of its own for a 404.
    lifetime = int(stored.freshness.lifetime)
    usable = lifetime > 0 and not stored.freshness.no_cache
    value = b"max-age=%d" % lifetime if usable else b"no-store"
    return ((b"cache-control", value),)


def _selected(
    request: Request, stored: StoredResponse
) -> tuple[ByteRange, ...] | NotSatisfiable | None:
    """The parts asked for, None for the whole: RFC 9110 §14.2, defined for GET alone."""
    if request.range is None or request.method != "GET" or stored.length is None:
        return None
    if not if_range_holds(
        request.if_range,
        etag=stored.etag,
        last_modified=stored.last_modified,
        date=stored.date,
    ):
        return None
    return ranges.select(request.range, stored.length)


def _not_modified(stored: StoredResponse, added: Fields) -> Head:
    applicable = tuple(
        (name, value)
        for name, value in stored.fields
        if name in _ON_NOT_MODIFIED or (name == b"last-modified" and stored.etag is None)
    )
    return Head(_NOT_MODIFIED, (*applicable, *added))


def _whole(request: Request, stored: StoredResponse, added: Fields) -> Head:
    length = stored.length
    if length is None:
        fields = (*stored.fields, *added)
        return Head(_OK, fields, () if request.method == "HEAD" else (EVERYTHING,))
    told, whole = _of_length(length)
    fields = (*stored.fields, told, *added)
    return Head(_OK, fields, () if request.method == "HEAD" else whole)


# Of the objects that are asked for often, many have one length, and each has the same again.
@lru_cache(maxsize=1024)
def _of_length(length: int) -> tuple[tuple[bytes, bytes], tuple[ByteRange, ...]]:
    """The Content-Length of a whole representation, and its segments."""
    return (b"content-length", b"%d" % length), (ByteRange(0, length - 1),) if length else ()


def _single_part(part: ByteRange, stored: StoredResponse, total: int, added: Fields) -> Head:
    fields = (
        *stored.fields,
        (b"content-range", part.content_range(total).encode("ascii")),
        (b"content-length", b"%d" % part.length),
        *added,
    )
    return Head(_PARTIAL, fields, (part,))


def _several_parts(
    parts: tuple[ByteRange, ...],
    stored: StoredResponse,
    total: int,
    added: Fields,
    boundary: str,
) -> Head:
    """multipart/byteranges, RFC 9110 §14.6: each part bears the representation's type."""
    content_type = next(
        (value.decode("latin-1") for name, value in stored.fields if name == b"content-type"),
        None,
    )
    segments: list[Segment] = []
    length = 0
    for part in parts:
        part_head = ranges.part_head(boundary, content_type, part, total)
        segments += [part_head, part]
        length += len(part_head) + part.length
    closing = ranges.closing(boundary)
    segments.append(closing)
    fields = (
        *((name, value) for name, value in stored.fields if name != b"content-type"),
        (b"content-type", b"multipart/byteranges; boundary=" + boundary.encode("ascii")),
        (b"content-length", b"%d" % (length + len(closing))),
        *added,
    )
    return Head(_PARTIAL, fields, tuple(segments))
