"""Answers with status 200 that are no objects, as far as that can be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.storability import OriginHead

# How much of a body is looked at.
ERROR_PREFIX_BYTES = 256
_ERROR_DOCUMENT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<Error(?:\s[^>]*)?>")

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_XML = frozenset({"application/xml", "text/xml"})
_MARKUP = _HTML | _XML


def is_markup(head: OriginHead) -> bool:
    """Is it HTML or XML? Nothing else is suspected."""
    return _type(head) in _MARKUP


def is_foreign_page(head: OriginHead) -> bool:
    """Is it a page of somebody on the way, such as a captive portal, or of another server?

    S3 and what speaks like it send an entity tag or a date with every object, or at least a
    field of their own. A page that has one of them cannot be told from an object.
    """
    return _type(head) in _HTML and not _has_trace_of_s3(head)


def may_be_error_document(head: OriginHead) -> bool:
    """Might the body be an error of S3's in spite of the status? Only then look at it."""
    return _type(head) in _XML and not _has_validator(head)


def is_error_document(beginning: bytes | bytearray) -> bool:
    """Is it one, by the body's first ERROR_PREFIX_BYTES?"""
    return _ERROR_DOCUMENT.match(beginning) is not None


def _type(head: OriginHead) -> str:
    return (head.get(b"content-type") or "").partition(";")[0].strip().lower()


def _has_validator(head: OriginHead) -> bool:
    return any(name in (b"etag", b"last-modified") for name, _ in head.fields)


def _has_trace_of_s3(head: OriginHead) -> bool:
    return _has_validator(head) or any(name.startswith(b"x-amz-") for name, _ in head.fields)
