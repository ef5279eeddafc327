"""Django responses whose head core has made."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.http import HttpResponse
from django.http.response import ResponseHeaders

from proxy.responses import (
    BytesResponse,
    FieldHeaders,
    add_field,
    cookies_of,
    fields_of,
)

FIELDS = ((b"content-type", b"text/plain"), (b"etag", b'"e"'), (b"x-amz-meta-a", b"\xe9"))


def response() -> BytesResponse:
    return BytesResponse(b"body", 203, FIELDS)


def as_django_makes_it() -> HttpResponse:
    made = HttpResponse(b"body", status=203, content_type="text/plain")
    made.headers["ETag"] = '"e"'
    made.headers["X-Amz-Meta-A"] = "é"
    return made


def test_it_has_every_attribute_that_django_gives_a_response() -> None:
    ours, djangos = response(), as_django_makes_it()
    assert vars(djangos).keys() <= set(dir(ours))
    for name, value in vars(djangos).items():
        assert type(getattr(ours, name)) is type(value) or name == "headers"
        if name not in ("headers", "cookies"):
            assert getattr(ours, name) == value


def test_what_can_change_is_each_responses_own() -> None:
    first, second = response(), response()
    shared = [
        name
        for name in vars(as_django_makes_it())
        if getattr(first, name) is getattr(second, name)
        and not isinstance(getattr(first, name), str | int | bool | None)
    ]
    assert shared == []


def test_django_keeps_the_fields_where_they_are_looked_for() -> None:
    # A private name: all of Django's methods go by it, and so do ours.
    assert vars(ResponseHeaders({"A": "b"})) == {"_store": {"a": ("A", "b")}}


@pytest.mark.parametrize("changed", [False, True])
def test_fields_are_the_same_whether_somebody_looked_or_not(changed: bool) -> None:
    looked_at = response()
    assert looked_at.headers["Etag"] == '"e"'
    untouched = response()
    if changed:
        for one in (looked_at, untouched):
            add_field(one, b"etag", b"new")
            add_field(one, b"x-request-id", b"1-2")
    assert list(fields_of(looked_at).items()) == list(fields_of(untouched).items())
    assert fields_of(looked_at)[b"x-amz-meta-a"] == b"\xe9"


def test_a_field_is_added_to_any_response() -> None:
    for one in (response(), HttpResponse(b"", "text/plain")):
        add_field(one, b"x-request-id", b"1-2")
        assert one["X-Request-ID"] == "1-2"


def test_headers_are_djangos_mapping() -> None:
    ours, djangos = response().headers, as_django_makes_it().headers
    assert isinstance(ours, FieldHeaders)
    assert ours == djangos
    ours.setdefault("ETag", "other")
    del ours["x-amz-META-a"]
    ours["Vary"] = "Accept"
    assert dict(ours.items()) == {"content-type": "text/plain", "etag": '"e"', "Vary": "Accept"}
    assert copy.deepcopy(ours) == ours


def test_what_is_set_through_django_is_sent() -> None:
    one = response()
    one["Vary"] = "Accept"
    del one["etag"]
    one.write(b", longer")
    one.set_cookie("a", "1", httponly=True)
    assert fields_of(one) == {
        b"content-type": b"text/plain", b"x-amz-meta-a": b"\xe9", b"vary": b"Accept"
    }  # fmt: skip
    assert one.content == b"body, longer"
    assert list(cookies_of(one)) == [(b"set-cookie", b"a=1; HttpOnly; Path=/")]


def test_a_line_end_gets_into_no_field() -> None:
    one: Any = response()
    with pytest.raises(ValueError, match="newlines"):
        one["Vary"] = "a\r\nb: c"


def test_without_cookies_there_are_none() -> None:
    assert list(cookies_of(response())) == list(cookies_of(HttpResponse())) == []
