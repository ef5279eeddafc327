"""What one client sends never changes what the next one gets."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, per_request, respond
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.origins import RecordedRequest, Step
    from tests.raw_http import RawResponse

BODY = b"the clean bytes of an object"
FIELDS = {
    "Content-Type": "text/html", "ETag": '"v1"', "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT",
    "Content-Language": "en", "x-amz-meta-a": "1",
}  # fmt: skip
# These differ between any two answers.
VOLATILE = {b"age", b"cache-status", b"connection", b"date", b"x-cache", b"x-request-id"}

POISON: dict[str, tuple[str, ...]] = {
    "another Host": ("Host: evil.test",),
    "X-Forwarded-Host": ("X-Forwarded-Host: evil.test", "X-Host: evil.test", "Forwarded: host=evil.test"),
    "X-Forwarded-*": ("X-Forwarded-Scheme: nothttps", "X-Forwarded-Proto: http", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil"),
    "another client": ("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "True-Client-IP: 127.0.0.1", "Via: 1.1 evil"),
    "another path": ("X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-Forwarded-Uri: /evil", "X-Accel-Redirect: /evil"),
    "another method": ("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: PUT", "X-Method-Override: POST"),
    "a range": ("Range: bytes=0-2",),
    "a range that cannot be": ("Range: bytes=9999-",),
    "several ranges": ("Range: bytes=0-1,4-5",),
    "a condition that fails": ('If-Match: "other"',),
    "a condition that holds": ('If-None-Match: "v1"',),
    "a date": ("If-Modified-Since: Fri, 02 Jan 2015 00:00:00 GMT",),
    "codings": ("Accept-Encoding: gzip, br", "TE: trailers", "Accept-Charset: utf-7"),
    "types": ("Accept: application/json", "Accept-Language: xx"),
    "a reload": ("Cache-Control: no-cache", "Pragma: no-cache"),
    "no storing": ("Cache-Control: no-store",),
    "lifetimes": ("Cache-Control: max-age=0, min-fresh=99999, max-stale, stale-if-error=0",),
    "only what is stored": ("Cache-Control: only-if-cached",),
    "credentials": ("Authorization: Bearer x", "Cookie: session=x", "X-Auth-Token: x"),
    "S3's fields": ("x-amz-acl: public-read", "x-amz-copy-source: /other/x", "x-amz-security-token: x"),
    "S3's answers": ("response-content-type: text/evil", "Content-Type: text/evil"),
    "an origin": ("Origin: https://evil.test", "Access-Control-Request-Method: PUT"),
    "a body": ("Content-Length: 4",),
    "hop-by-hop names": ("Connection: host, etag, content-type, x-amz-meta-a, range",),
    "an upgrade": ("Connection: upgrade", "Upgrade: h2c"),
    "a service worker": ("Service-Worker: script", "Sec-Fetch-Dest: serviceworker", "Purpose: prefetch"),
}  # fmt: skip
TARGETS = {
    "a query": "{path}?response-content-type=text/evil&versionId=1&callback=alert(1)",
    "a long query": "{path}?" + "x" * 10_000,
    "a semicolon query": "{path}?;jsessionid=1&utm_source=x",
    "absolute form of another host": "http://evil.test{path}",
}
METHODS = ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PURGE"]

_numbers = itertools.count()


def _answer(request: RecordedRequest) -> Step:
    """By the book: a part for a range, 304 for a condition, so that a poison passed on would show."""
    if request.header("If-None-Match") == '"v1"':
        return respond(304, headers={"ETag": '"v1"'})
    if request.header("Range") is not None:
        return respond(206, BODY[:3], FIELDS | {"Content-Range": f"bytes 0-2/{len(BODY)}"})
    if request.header("Host") is None or b"?" in request.target or request.method != "GET":
        return respond(200, b"poisoned", FIELDS)
    return respond(200, BODY, FIELDS)


@pytest.fixture(scope="module")
def honest() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.default(per_request(_answer))
        yield origin


@pytest.fixture(scope="module", params=["", "/-"], ids=["no prefix", "a prefix"])
def site(request: pytest.FixtureRequest, honest: ScriptedOrigin) -> Iterator[tuple[Served, str]]:
    """A proxy, and where its admin routes are."""
    with Served(honest.environ() | {"ADMIN_PREFIX": request.param}) as served:
        yield served, request.param


@pytest.fixture(scope="module")
def victim(honest: ScriptedOrigin) -> Iterator[Served]:
    with Served(honest.environ()) as served:
        yield served


def ask(
    served: Served, target: str, *fields: str, method: str = "GET", host: str = "Host: test"
) -> RawResponse:
    lines = [
        f"{method} {target} HTTP/1.1",
        *(() if any(f.startswith("Host:") for f in fields) else (host,)),
        *fields,
    ]
    body = b"evil" if "Content-Length: 4" in fields else b""
    with RawConnection("127.0.0.1", served.port) as client:
        client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return client.read_response(method)


def described(answer: RawResponse) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in answer.headers if name.lower() not in VOLATILE}


def assert_clean(served: Served, path: str) -> None:
    """A plain client gets what it gets of an object that nobody asked for before."""
    fresh = ask(served, f"/fresh-{next(_numbers)}")
    for _ in range(2):
        answer = ask(served, path)
        assert (answer.status, answer.body) == (200, BODY)
        assert described(answer) == described(fresh)


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_no_field_of_a_request_changes_what_is_stored(
    victim: Served, name: str, warm: bool
) -> None:
    path = f"/poisoned-{next(_numbers)}"
    if warm:
        assert_clean(victim, path)
    ask(victim, path, *POISON[name])
    assert_clean(victim, path)


@pytest.mark.parametrize("name", TARGETS)
def test_no_query_or_authority_changes_what_is_stored(victim: Served, name: str) -> None:
    path = f"/poisoned-{next(_numbers)}"
    ask(victim, TARGETS[name].format(path=path))
    assert_clean(victim, path)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_changes_what_is_stored(victim: Served, method: str) -> None:
    path = f"/poisoned-{next(_numbers)}"
    ask(victim, path, method=method)
    assert_clean(victim, path)


def test_spellings_of_one_key_share_one_response_and_case_tells_keys_apart(
    victim: Served, honest: ScriptedOrigin
) -> None:
    before = honest.count()
    for path in ("/dir/Spelled", "/dir%2FSpelled", "/%64ir/%53pelled", "/dir/Spelled?x"):
        assert ask(victim, path).body == BODY
    assert honest.count() == before + 1
    assert ask(victim, "/dir/spelled").header("X-Cache") == b"MISS"


# Each is an admin route, or an object of that very key; never one in place of the other.
SPELLINGS = {
    "/healthz": True, "/%68ealthz": True, "/health%7A": True, "/healthz?x": True, "http://evil.test/healthz": True,
    "/metrics": True, "/%6Detrics": True, "/metric%73?token": True, "/cache/stats": True, "/cache%2Fstats": True,
    "/cache%2fstats": True, "/%63ache/%73tats": True, "/cache/": True, "/cache/logo.png": True, "/cache/../metrics": True,
    "/readyz": True, "//metrics": False, "/metrics/": False, "/metrics/x.css": False, "/metrics;x.css": False,
    "/metrics%3Fx.css": False, "/metrics%23.css": False, "/metrics%2Fy.css": False, "/metrics%20": False,
    "/Metrics": False, "/METRICS": False, "/%252Fmetrics": False, "/metrics%00": None, "/metrics%0a": None,
    "/./metrics": None, "/%2e/metrics": None, "/x/../metrics": None, "/metrics/..": None, "/healthz/": False,
    "/%EF%BC%8Fmetrics": False, "/metrics%E2%80%8B": False, "/cache": False, "//cache/stats": False,
    "/cache%5Cstats": False, "/cache%252Fstats": False,
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_admin_answer_is_stored_and_no_object_served_in_its_place(
    site: tuple[Served, str], honest: ScriptedOrigin, spelling: str
) -> None:
    served, prefix = site
    scheme, path = ("http://evil.test", spelling[16:]) if spelling[0] == "h" else ("", spelling)
    # With a prefix, the routes are below it; what is beside it is objects.
    target = f"{scheme}{prefix}{path}"
    expected, before = SPELLINGS[spelling], honest.count()
    token = f"X-Auth-Token: {served.token}"
    privileged = [ask(served, target, token) for _ in range(2)][-1]
    anonymous = ask(served, target)
    if expected is None:
        assert (privileged.status, anonymous.status) == (400, 400)
    elif expected:
        # RFC 9111 §5.2.2.5: nobody on the way may keep it either.
        assert privileged.header("Cache-Control") == b"no-store"
        assert privileged.header("X-Cache") is None
        assert BODY not in privileged.body
        assert anonymous.status == (
            200 if "healthz" in path or "health%7A" in path or "%68ealthz" in path else 401
        )
        assert anonymous.body == privileged.body or b"token" in anonymous.body
    else:
        assert (privileged.status, privileged.body) == (200, BODY)
        assert anonymous.header("X-Cache") == b"HIT"
    assert (honest.count() > before) is (expected is False)


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/cache/stats", "/cache/x", "/-", "/-x/metrics", "/-/x"]
)
def test_with_a_prefix_what_is_beside_it_is_objects_alone(
    honest: ScriptedOrigin, site: tuple[Served, str], path: str
) -> None:
    served, prefix = site
    if not prefix:
        path = f"/x{path}"
    answer = ask(served, path, f"X-Auth-Token: {served.token}")
    assert (answer.status, answer.body) == (200, BODY)
