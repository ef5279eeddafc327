"""Answers of the gateway as Django responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from proxy.answer import from_memory
from proxy.core.error_page import error_page

if TYPE_CHECKING:
    from django.http import HttpRequest

    from proxy.answer import Answer
    from proxy.core.cache_status import Handling
    from proxy.core.messages import Fields

# Where a response keeps its Handling, for the access log.
HANDLING_ATTRIBUTE = "s3proxy_handling"

# Without a type Django would name one of its own; an object without one has none.
_NO_TYPE = "-"


def response_of(answer: Answer) -> HttpResponseBase:
    """The Django response that sends an answer; closing it closes the answer's body."""
    response: HttpResponseBase
    status = answer.head.status
    if isinstance(answer.body, bytes):
        response = HttpResponse(answer.body, _NO_TYPE, status)
    else:
        response = StreamingHttpResponse(answer.body, content_type=_NO_TYPE, status=status)
    return _with_fields(response, answer.head.fields, answer.handling)


def error_response(request: HttpRequest, status: int, fields: Fields = ()) -> HttpResponseBase:
    """A short error that says nothing but its status."""
    head = error_page(status, request.method or "GET", request.headers.get("Accept", ""), fields)
    response = HttpResponse(from_memory(head.segments, b""), _NO_TYPE, head.status)
    return _with_fields(response, head.fields, None)


def handling_of(response: HttpResponseBase) -> Handling | None:
    """How the cache handled the request; None where it had no part in it."""
    found: Handling | None = getattr(response, HANDLING_ATTRIBUTE, None)
    return found


def _with_fields(
    response: HttpResponseBase, fields: Fields, handling: Handling | None
) -> HttpResponseBase:
    # Into the mapping itself: Django's way checks and converts what core has made already.
    stored: dict[str, tuple[str, str]] = response.headers._store  # noqa: SLF001
    stored.clear()
    for name, value in fields:
        text = name.decode("ascii")
        stored[text.lower()] = (text, value.decode("latin-1"))
    setattr(response, HANDLING_ATTRIBUTE, handling)
    return response
