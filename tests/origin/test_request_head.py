"""A request to S3, byte for byte."""

from __future__ import annotations

import pytest
from botocore.credentials import ReadOnlyCredentials

from proxy.core.ranges import ByteRange
from proxy.origin.errors import Failure, OriginError
from proxy.origin.exchange import WHOLE, Ask
from proxy.origin.location import Location
from proxy.origin.request_head import request_head

BUCKET = Location("https://s3.test/bucket/", "us-east-1")
UNSIGNED = (
    b"Host: s3.test\r\nAccept: */*\r\nAccept-Encoding: identity\r\nVia: 1.1 s3proxy\r\n"
)  # fmt: skip


def test_an_unsigned_request() -> None:
    expected = b"GET /bucket/a%20b HTTP/1.1\r\n" + UNSIGNED + b"\r\n"
    assert request_head(BUCKET, "a b", WHOLE, None) == expected


def test_a_conditional_request() -> None:
    asked = request_head(BUCKET, "a", Ask('"v1"', 0.0), None)
    lines = b'If-None-Match: "v1"\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n'
    assert asked == b"GET /bucket/a HTTP/1.1\r\n" + UNSIGNED + lines + b"\r\n"


def test_a_request_for_a_part() -> None:
    asked = request_head(BUCKET, "a", Ask(part=ByteRange(1, 2), etag_of_whole='"v1"'), None)
    lines = b'Range: bytes=1-2\r\nIf-Match: "v1"\r\n'
    assert asked == b"GET /bucket/a HTTP/1.1\r\n" + UNSIGNED + lines + b"\r\n"


def test_a_weak_entity_tag_is_no_condition_for_a_part() -> None:
    asked = request_head(BUCKET, "a", Ask(part=ByteRange(1, 2), etag_of_whole='W/"v1"'), None)
    assert b"If-Match" not in asked


def test_an_entity_tag_goes_back_in_the_bytes_that_it_came_in() -> None:
    tag = b'"\xc3\xbc"'
    asked = request_head(BUCKET, "a", Ask(tag.decode("latin-1")), None)
    assert b"If-None-Match: " + tag + b"\r\n" in asked


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\0"])
def test_keys_that_would_make_two_fields_of_one_are_not_sent(line_break: str) -> None:
    for keys in (
        ReadOnlyCredentials(f"AKID{line_break}", "SECRET", None),
        ReadOnlyCredentials("AKID", "SECRET", f"TOKEN{line_break}"),
    ):
        with pytest.raises(OriginError, match="S3_ACCESS_KEY") as caught:
            request_head(BUCKET, "a", WHOLE, keys)
        assert caught.value.failure is Failure.MISCONFIGURED


@pytest.mark.parametrize("ask", [Ask('"a"\r\nX: y'), Ask(etag_of_whole='"a"\nX: y')])
def test_an_entity_tag_that_would_make_two_fields_of_one_is_not_sent(ask: Ask) -> None:
    with pytest.raises(ValueError, match="entity tag"):
        request_head(BUCKET, "a", ask, None)


@pytest.mark.parametrize(
    ("base", "host", "endpoint"),
    [
        ("http://S3.test/b/", b"s3.test", ("s3.test", 80, False)),
        ("http://s3.test:80/b/", b"s3.test", ("s3.test", 80, False)),
        ("https://s3.test:80/b/", b"s3.test:80", ("s3.test", 80, True)),
        ("https://s3.test/b/", b"s3.test", ("s3.test", 443, True)),
        ("http://[::1]:9000/b/", b"[::1]:9000", ("::1", 9000, False)),
        ("http://[2001:DB8::1]/b/", b"[2001:db8::1]", ("2001:db8::1", 80, False)),
        ("http://user:word@s3.test/b/", b"s3.test", ("s3.test", 80, False)),
        ("http://bücher.test/b/", b"xn--bcher-kva.test", ("xn--bcher-kva.test", 80, False)),
    ],
)
def test_host_is_what_is_connected_to(
    base: str, host: bytes, endpoint: tuple[str, int, bool]
) -> None:
    location = Location(base, "us-east-1")
    assert b"\r\nHost: " + host + b"\r\n" in request_head(location, "a", WHOLE, None)
    found = location.endpoint
    assert (found.host, found.port, found.tls) == endpoint
