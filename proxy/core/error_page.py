"""Short bodies for answers that are not an object."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

from proxy.core.messages import Head

if TYPE_CHECKING:
    from proxy.core.messages import Fields

_HTML = (
    "<!doctype html>\n<html lang=en><meta charset=utf-8>"
    "<title>{status} {phrase}</title>\n<h1>{status} {phrase}</h1>\n"
)


def error_page(status: int, method: str, accept: str, fields: Fields = ()) -> Head:
    """An error's head and body, HTML where Accept prefers that to plain text.

    Says nothing but the status: neither host nor bucket nor key. Not to be stored by
    downstream caches unless ``fields`` say otherwise.
    """
    phrase = http.HTTPStatus(status).phrase
    if _prefers_html(accept):
        content_type, body = b"text/html; charset=utf-8", _HTML.format(status=status, phrase=phrase)
    else:
        content_type, body = b"text/plain; charset=utf-8", f"{status} {phrase}\n"
    content = body.encode("ascii")
    has_freshness = any(name == b"cache-control" for name, _ in fields)
    head_fields = (
        *fields,
        *(() if has_freshness else ((b"cache-control", b"no-store"),)),
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(content)),
        (b"vary", b"accept"),
    )
    return Head(status, head_fields, () if method == "HEAD" else (content,))


def _prefers_html(accept: str) -> bool:
    """RFC 9110 §12.5.1 for the two types there are; plain text where they are equal."""
    return _quality(accept, "text", "html") > _quality(accept, "text", "plain")


def _quality(accept: str, kind: str, subtype: str) -> float:
    best, best_precision = 0.0, -1
    for member in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in member.split(";"))
        if media_range == f"{kind}/{subtype}":
            precision = 2
        elif media_range == f"{kind}/*":
            precision = 1
        elif media_range == "*/*":
            precision = 0
        else:
            continue
        if precision > best_precision:
            best, best_precision = _weight(parameters), precision
    return best


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
