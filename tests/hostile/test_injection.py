"""What an object's metadata or key may not do: end a header, write a log line, run on admin pages."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, raw_bytes, respond
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raw_http import RawResponse
    from tests.served.process import Serve

EVIL = {
    "CR and LF": b"a\r\nSet-Cookie: evil=1",
    "LF": b"a\nSet-Cookie: evil=1",
    "CR": b"a\rSet-Cookie: evil=1",
    "NUL": b"a\x00Set-Cookie: evil=1",
    "a control character": b"a\x01b",
    "DEL": b"a\x7fb",
    "a folded line": b"a\r\n Set-Cookie: evil=1",
    "a vertical tab": b"a\x0bSet-Cookie: evil=1",
    "a second head": b"a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "beyond ASCII": "a\u010d\u010a: evil".encode(),
}
NAMES = [
    b"Content-Disposition",
    b"Content-Type",
    b"Cache-Control",
    b"ETag",
    b"x-amz-meta-evil",
    b"x-amz-meta-\x00",
]


@pytest.fixture(scope="module")
def origin_of_evil() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        # A page without an entity tag would be taken for a captive portal's.
        fields = {"Content-Type": "text/html", "ETag": '"evil"'}
        origin.default(respond(200, b"<script>evil()</script>", fields))
        yield origin


@pytest.fixture(scope="module")
def served(origin_of_evil: ScriptedOrigin) -> Iterator[Served]:
    with Served(origin_of_evil.environ() | {"S3_RETRIES": "0"}) as running:
        yield running


def ask(served: Served, target: str | bytes, *fields: str) -> RawResponse:
    with RawConnection("127.0.0.1", served.port) as client:
        client.get(target, *fields)
        return client.read_response()


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("value", EVIL)
def test_metadata_makes_no_field_and_no_answer_of_its_own(
    served: Served, origin_of_evil: ScriptedOrigin, name: bytes, value: str
) -> None:
    key = f"evil-{NAMES.index(name)}-{list(EVIL).index(value)}"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n%b: %b\r\n\r\ngood" % (name, EVIL[value])
    origin_of_evil.on(key, raw_bytes(head))
    for _ in range(2):
        with RawConnection("127.0.0.1", served.port) as client:
            client.get(f"/{key}")
            answer = client.read_response()
            # Nothing is left over that could pass for the next answer.
            client.get("/next")
            assert client.read_response().body == b"<script>evil()</script>"
        assert answer.status in (200, 502)
        assert answer.complete
        assert answer.header("Set-Cookie") is None
        for field, sent in answer.headers:
            assert re.fullmatch(rb"[A-Za-z0-9-]+", field)
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", sent)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_request_writes_one_line_whatever_its_key(serve: Serve, form: str) -> None:
    with ScriptedOrigin() as origin:
        proxy = serve(origin, LOG_FORMAT=form)
        forged = '{"level": "ERROR", "message": "forged"}'
        for target in (
            b"/%0a" + forged.encode().replace(b" ", b"%20").replace(b'"', b"%22"),
            b"/%0d%0aforged", b"/a%1b[31mforged", "/\u2028forged".encode(), b"/%e2%80%a8forged",
            b"/%c2%85forged", b'/"forged', b"/\\nforged", b"/a%3Dforged%20level%3DERROR",
        ):  # fmt: skip
            ask(proxy, target, "User-Agent: \x1b[2Jforged", "X-Forwarded-For: forged\tx")
        origin.on("bad", respond(403, b"<Error><Code>X\n\rforged\x1b</Code></Error>"))
        ask(proxy, "/bad")
        last = ask(proxy, "/end")
        proxy.wait_for_line((last.header("X-Request-ID") or b"").decode())
    assert not [line for line in proxy.lines if line.startswith(("forged", '{"level": "ERROR"'))]
    assert "\x1b" not in proxy.output
    assert "\u2028" not in proxy.output
    assert "\x85" not in proxy.output
    if form == "json":
        assert [line for line in proxy.lines if not isinstance(json.loads(line), dict)] == []
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z [A-Z]+ ", line) for line in proxy.lines)


def test_an_object_is_what_its_type_says_unless_switched_off(
    served: Served, serve: Serve, origin_of_evil: ScriptedOrigin
) -> None:
    loose = serve(origin_of_evil, NOSNIFF="off")
    for target, fields in (("/page", ()), ("/page", ("Range: bytes=0-3",)), ("/page", ())):
        assert ask(served, target, *fields).header("X-Content-Type-Options") == b"nosniff"
        assert ask(loose, target, *fields).header("X-Content-Type-Options") is None


MARK = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "target",
    [
        f"/metrics?token={MARK}",
        f"/cache/{MARK}",
        f"/cache/stats?x={MARK}",
        f"/..?{MARK}",
        f"/a%00{MARK}",
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json"])
def test_no_admin_answer_or_error_repeats_what_was_asked(
    served: Served, target: str, accept: str
) -> None:
    encoded = target.replace("<", "%3C").replace(">", "%3E")
    for spelled in (target, encoded):
        for fields in ((), (f"X-Auth-Token: {served.token}",), (f"X-Auth-Token: {MARK}",)):
            answer = ask(served, spelled, f"Accept: {accept}", f"X-Request-ID: {MARK}", *fields)
            assert b"alert" not in answer.body
            assert not any(b"alert" in value for _, value in answer.headers)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/cache/stats", "/cache/x"])
@pytest.mark.parametrize("token", [True, False])
def test_an_admin_answer_is_data_to_a_browser(served: Served, path: str, token: bool) -> None:
    fields = (f"X-Auth-Token: {served.token}",) if token else ()
    answer = ask(served, path, "Accept: text/html", *fields)
    assert not (answer.header("Content-Type") or b"").startswith(b"text/html")
    assert answer.header("X-Content-Type-Options") == b"nosniff"
    assert answer.header("Content-Security-Policy") == b"default-src 'none'; frame-ancestors 'none'"
    # With ?token= in the address, nobody is told of the address.
    assert answer.header("Referrer-Policy") == b"no-referrer"
    assert answer.header("Access-Control-Allow-Origin") is None
