"""Answers of the gateway as Django responses."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.response import ResponseHeaders
from django.utils.functional import cached_property

from proxy.answer import from_memory
from proxy.core.error_page import error_page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

    from proxy.answer import Answer
    from proxy.core.cache_status import Handling
    from proxy.core.messages import Fields

# Where a response keeps its Handling, for the access log.
HANDLING_ATTRIBUTE = "s3proxy_handling"

# Without a type Django would name one of its own; an object without one has none.
_NO_TYPE = "-"


class FieldHeaders(ResponseHeaders):
    """The fields of a head, made into Django's text once somebody looks at them through Django.

    Until then they are ``unread``, by names in lower case; afterwards that is None.
    """

    # Django's __init__ would check and convert what core has made already.
    def __init__(self, fields: Fields) -> None:
        self.unread: dict[bytes, bytes] | None = dict(fields)

    @cached_property
    def _store(self) -> dict[str, tuple[str, str]]:  # type: ignore[override]
        fields, self.unread = self.unread or {}, None
        names = {name: name.decode("ascii") for name in fields}
        return {
            names[name]: (names[name], value.decode("latin-1")) for name, value in fields.items()
        }


class BytesResponse(HttpResponse):
    """A response whose head core has made, with its body at hand."""

    # As Django's __init__ does, without what an answer of core's has no use for. What a response
    # may change is made for each, all else is the class's.
    def __init__(self, content: bytes, status: int, fields: Fields) -> None:
        self.headers = FieldHeaders(fields)
        self.status_code = status
        self._resource_closers: list[object] = []
        self._container = [content]

    @cached_property
    def cookies(self) -> SimpleCookie:  # type: ignore[override]
        """As Django's."""
        return SimpleCookie()


for _name, _value in vars(HttpResponse(content_type=_NO_TYPE)).items():
    if _name not in ("cookies", "headers", "_container", "_resource_closers"):
        setattr(BytesResponse, _name, _value)


def response_of(answer: Answer) -> HttpResponseBase:
    """The Django response that sends an answer; closing it closes the answer's body."""
    head = answer.head
    response: HttpResponseBase
    if isinstance(answer.body, bytes):
        response = BytesResponse(answer.body, head.status, head.fields)
    else:
        response = StreamingHttpResponse(answer.body, content_type=_NO_TYPE, status=head.status)
        response.headers = FieldHeaders(head.fields)
    setattr(response, HANDLING_ATTRIBUTE, answer.handling)
    return response


def error_response(request: HttpRequest, status: int, fields: Fields = ()) -> HttpResponseBase:
    """A short error that says nothing but its status."""
    head = error_page(status, request.method or "GET", request.headers.get("Accept", ""), fields)
    return BytesResponse(bytes(from_memory(head.segments, b"")), head.status, head.fields)


def handling_of(response: HttpResponseBase) -> Handling | None:
    """How the cache handled the request; None where it had no part in it."""
    found: Handling | None = getattr(response, HANDLING_ATTRIBUTE, None)
    return found


def add_field(response: HttpResponseBase, name: bytes, value: bytes) -> None:
    """Set a header field; the name is in lower case."""
    headers = response.headers
    if isinstance(headers, FieldHeaders) and headers.unread is not None:
        headers.unread[name] = value
    else:
        headers[name.decode("ascii")] = value.decode("latin-1")


def fields_of(response: HttpResponseBase) -> dict[bytes, bytes]:
    """A response's header fields as they are sent, by names in lower case; cookies aside."""
    headers = response.headers
    if isinstance(headers, FieldHeaders) and headers.unread is not None:
        return headers.unread
    # Not through items(), which makes three calls a field.
    stored: dict[str, tuple[str, str]] = headers._store  # noqa: SLF001
    return {name.encode("ascii"): value.encode("latin-1") for name, (_, value) in stored.items()}


def cookies_of(response: HttpResponseBase) -> Iterable[tuple[bytes, bytes]]:
    """The fields that set a response's cookies; no object has any, but a middleware may."""
    cookies: SimpleCookie | None = vars(response).get("cookies")
    if not cookies:
        return ()
    return [(b"set-cookie", morsel.OutputString().encode("latin-1")) for morsel in cookies.values()]
