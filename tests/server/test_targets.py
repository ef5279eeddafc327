"""From the request target to the object key, over a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.server.conversation import request, responses_until_closed

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Served


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/plain.txt", "plain.txt"),
        ("/a+b", "a+b"),
        ("/a%2Bb", "a+b"),
        ("/a%20b", "a b"),
        ("/a//b", "a//b"),
        ("//a", "/a"),
        ("//other-host/x", "/other-host/x"),
        ("/folder/", "folder/"),
        ("/a%2Fb", "a/b"),
        ("/%C3%BC/%E6%BC%A2", "ü/漢"),
        ("/100%25", "100%"),
        ("/a%252Fb", "a%2Fb"),
        ("/a%253Fb", "a%3Fb"),
        ("/jquery..min.js", "jquery..min.js"),
        ("/..a/b../.c./...", "..a/b../.c./..."),
        ("/a%3Fb", "a?b"),
        ("/a%23b", "a#b"),
        ("/a;b,c=d&e@f:g", "a;b,c=d&e@f:g"),
        ("/~tilde'(x)!*$", "~tilde'(x)!*$"),
        ("/a%5Cb", "a\\b"),
        ("http://any.host:81/absolute/form", "absolute/form"),
        ("/" + "k" * 1024, "k" * 1024),
        ("/" + "%C3%BC" * 512, "ü" * 512),
    ],
)
def test_a_target_is_decoded_once_and_reaches_s3_as_that_key(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, target: str, key: str
) -> None:
    client = raw(proxy.port)
    client.get(target)
    assert client.read_response().status == 200
    asked = module_origin.requests[-1]
    assert asked.key == key
    assert asked.target == b"/bucket/" + quote(key, safe="/~").encode()


def test_the_query_neither_reaches_s3_nor_tells_objects_apart(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    client = raw(proxy.port)
    client.get("/query?versionId=1&X-Amz-Signature=2")
    assert client.read_response().status == 200
    assert module_origin.requests[-1].target == b"/bucket/query"
    client.get("/query?acl")
    assert client.read_response().header("X-Cache") == b"HIT"


def test_nothing_of_the_clients_head_reaches_s3(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    client = raw(proxy.port)
    sent = ("Cookie: c", "Authorization: Basic eDp5", "X-Amz-Acl: public-read", "Range: bytes=0-1")
    client.get("/head", *sent, 'If-None-Match: "x"', "User-Agent: spy", "X-Forwarded-For: ::1")
    client.read_response()
    asked = module_origin.requests[-1]
    names = {name.lower() for name, _ in asked.headers}
    assert names <= {
        b"host", b"accept", b"accept-encoding", b"authorization", b"via", b"x-amz-content-sha256",
        b"x-amz-date",
    }  # fmt: skip
    assert (asked.header("Authorization") or "").startswith("AWS4-HMAC-SHA256 ")
    assert asked.header("Accept-Encoding") == "identity"


@pytest.mark.parametrize(
    "target",
    [
        "/..", "/.", "/../x", "/./x", "/a/../b", "/a/./b", "/a/..", "/a/.",
        "/%2e%2e/other-bucket/x", "/%2E./x", "/.%2e/x", "/%2e/x", "/a%2f..%2fb", "/a/%2e%2e",
        "/..%2fother-bucket%2fx", "/%2F..%2F..%2Fx", "//../x", "http://host/../x",
        "/a%00b", "/%00", "/a%0ab", "/a%0d%0aX:y", "/a%1fb", "/a%7fb", "/a%C2%80b",
        "/%ff", "/%C3", "/%C0%AE%C0%AE/x", "/%ED%A0%80", "/a%", "/a%2", "/a%zz",
    ],
)  # fmt: skip
def test_a_target_that_is_no_key_is_refused_and_s3_not_asked(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, target: str
) -> None:
    before = module_origin.count()
    client = raw(proxy.port)
    for method in ("GET", "HEAD"):
        client.get(target, method=method)
        assert client.read_response(method).status == 400
    assert module_origin.count() == before


@pytest.mark.parametrize(
    "target", [b"/\xc3\xbc", b"/\xff", b"/a b", b"/a#b", b"a", b"?x", b"/a\x01"]
)
def test_a_target_that_is_no_uri_is_refused_and_the_connection_closed(
    proxy: Served, module_origin: ScriptedOrigin, target: bytes
) -> None:
    before = module_origin.count()
    answers = responses_until_closed(proxy.port, request(target))
    assert [answer.status for answer in answers] == [400]
    assert module_origin.count() == before


@pytest.mark.parametrize("target", ["/" + "k" * 1025, "/" + "%C3%BC" * 513, "/" + "%25" * 1025])
def test_a_key_over_1024_bytes_is_too_long(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, target: str
) -> None:
    before = module_origin.count()
    client = raw(proxy.port)
    client.get(target)
    assert client.read_response().status == 414
    assert module_origin.count() == before


@pytest.mark.parametrize("target", ["/", "/?list-type=2"])
def test_the_root_is_no_object_and_never_lists_the_bucket(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, target: str
) -> None:
    before = module_origin.count()
    client = raw(proxy.port)
    client.get(target)
    assert client.read_response().status == 404
    assert module_origin.count() == before


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PURGE", "PROPFIND"])
def test_other_methods_are_not_allowed(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, method: str
) -> None:
    before = module_origin.count()
    client = raw(proxy.port)
    client.get("/methods", method=method)
    answer = client.read_response()
    assert (answer.status, answer.header("Allow")) == (405, b"GET, HEAD, OPTIONS")
    client.get("/../methods", method=method)
    assert client.read_response().status == 405
    assert module_origin.count() == before


@pytest.mark.parametrize("target", ["/methods", "*"])
def test_options_tells_the_methods_and_nothing_else(
    proxy: Served, raw: OpenRaw, target: str
) -> None:
    client = raw(proxy.port)
    client.get(target, method="OPTIONS")
    answer = client.read_response()
    assert (answer.status, answer.header("Allow")) == (204, b"GET, HEAD, OPTIONS")
    assert answer.header("Content-Type") is None
    # RFC 9110 §8.6: a 204 must not have one.
    assert answer.header("Content-Length") is None
    assert answer.header("Transfer-Encoding") is None
