"""Errors: short, in the type that is wanted, and without a word on S3."""

from __future__ import annotations

import pytest

from proxy.core.error_page import error_page


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/plain", False),
        ("text/plain, text/html", False),
        ("text/plain;q=0.5, text/html", True),
        ("text/html;q=0.5, text/*", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("text/html; level=1; q=0.9, text/plain;q=0.8", True),
        ("application/json", False),
        ("image/*,*/*;q=0.5", False),
        (",;,=", False),
    ],
)
def test_12_5_1_html_where_accept_prefers_it(accept: str, html: bool) -> None:
    head = error_page(404, "GET", accept)
    fields = dict(head.fields)
    kind = b"text/html" if html else b"text/plain"
    assert fields[b"content-type"] == kind + b"; charset=utf-8"
    (body,) = head.segments
    assert isinstance(body, bytes)
    assert body.startswith(b"<!doctype html>" if html else b"404 Not Found\n")
    assert fields[b"content-length"] == b"%d" % len(body)
    assert fields[b"vary"] == b"accept"


@pytest.mark.parametrize(
    "status", [400, 404, 405, 410, 412, 414, 416, 429, 431, 500, 502, 503, 504]
)
def test_the_body_says_the_status_alone(status: int) -> None:
    (body,) = error_page(status, "GET", "").segments
    assert isinstance(body, bytes)
    assert body.startswith(b"%d " % status)
    assert len(body) < 60


def test_head_has_the_fields_and_no_body() -> None:
    get, head = error_page(404, "GET", ""), error_page(404, "HEAD", "")
    assert (head.fields, head.segments) == (get.fields, ())


def test_not_to_be_stored_unless_the_fields_say_otherwise() -> None:
    assert dict(error_page(502, "GET", "").fields)[b"cache-control"] == b"no-store"
    told = error_page(404, "GET", "", ((b"cache-control", b"max-age=5"),))
    assert [value for name, value in told.fields if name == b"cache-control"] == [b"max-age=5"]
