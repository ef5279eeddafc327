"""Answers for an object with validators as S3 does."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tests.origins.steps import Answer, PerRequest, respond, s3_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.origins.exchange import RecordedRequest


def conditional(
    body: bytes,
    etag: str,
    last_modified: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> PerRequest:
    """Answers GET and HEAD as S3 does for an object: preconditions, then one Range.

    `etag` with its quotes, `last_modified` as an HTTP date.
    """
    described = dict(headers or {}) | {"ETag": etag, "Accept-Ranges": "bytes"}
    if last_modified is not None:
        described["Last-Modified"] = last_modified

    def choose(request: RecordedRequest) -> Answer:
        return (
            _failed_precondition(request, etag, last_modified, described)
            or _part(request, body, described)
            or respond(200, body, described)
        )

    return PerRequest(choose)


def _failed_precondition(
    request: RecordedRequest, etag: str, last_modified: str | None, described: dict[str, str]
) -> Answer | None:
    """The 412 or 304 of RFC 9110 §13.2.2 without its If-Range."""
    failed = s3_error(412, "PreconditionFailed")
    if (expected := request.header("If-Match")) is not None:
        if not _lists(expected, etag):
            return failed
    elif _modified_since(request.header("If-Unmodified-Since"), last_modified) is True:
        return failed
    if (known := request.header("If-None-Match")) is not None:
        unchanged = _lists(known, etag)
    else:
        unchanged = _modified_since(request.header("If-Modified-Since"), last_modified) is False
    if not unchanged:
        return None
    return respond(304, headers=described)


def _lists(field_value: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in field_value.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def _modified_since(date: str | None, last_modified: str | None) -> bool | None:
    """None if either date is missing."""
    if date is None or last_modified is None:
        return None
    return parsedate_to_datetime(last_modified) > parsedate_to_datetime(date)


def _part(request: RecordedRequest, body: bytes, described: dict[str, str]) -> Answer | None:
    """The 206 or 416; None if there is no single byte range to honour."""
    unit, _, wanted = (request.header("Range") or "").partition("=")
    first, _, last = wanted.partition("-")
    if unit != "bytes" or "," in wanted or not (first or last):
        return None
    size = len(body)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        return s3_error(416, "InvalidRange", headers=unsatisfied)
    return respond(
        206, body[start : end + 1], described | {"Content-Range": f"bytes {start}-{end}/{size}"}
    )
