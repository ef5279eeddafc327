"""No target leads out of bucket and prefix, however it is spelled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.origins import ScriptedOrigin, respond
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIXES = ["", "site/", "ü +%2e/v1."]

# What paths out of somewhere are made of: plainly, encoded once, twice, overlong, in parts.
PIECES = [
    "/", "//", "/.", "/..", "/../", "..", ".", "...", "\\", "..\\", ";", "..;", "/..;/", "@", ":",
    "%2e", "%2E", "%2e%2e", "%2E.", ".%2e", "%2f", "%2F", "%5c", "%5C", "%252e", "%252E%252e",
    "%252f", "%255c", "%25", "%2525", "%", "%2", "%u002e", "%uff0e", "&#46;", "%3b", "%40", "%3a",
    "%c0%ae", "%c0%af", "%C0%2E", "%e0%80%ae", "%f0%80%80%ae", "%c1%1c", "%ff", "%ed%a0%80",
    "%ef%bc%8e", "%e2%80%a5", "%ef%bc%8f", "%c2%85", "%e2%80%ae", "\xc0\xae", "\xff",
    "%00", "%0a", "%0d%0a", "%0d%0aX:%20y", "%09", "%20", "%7f", "\x00", "\t", "\x7f",
    "?", "#", "%3f", "%23", "?acl", "?list-type=2", "&", "=", "+", "~", "*", "|",
    "http://", "https://", "http:", "//evil.test", "evil.test", "u:p@evil.test", "[::1]", ":80",
    "bucket", "other-bucket", "bucket/", "site", "site/", "a", "key.txt", "é", "k" * 300,
]  # fmt: skip

REFUSED = {400, 404, 414}  # 404: no key, or slashes alone

targets = st.tuples(
    st.sampled_from(["/", "/", "/", "//", "", "http://test/", "http://u@test/", "//test/", "*"]),
    st.lists(st.sampled_from(PIECES) | st.text("./%2eEfF5cC\\;@a", max_size=6), max_size=10),
).map(lambda parts: (parts[0] + "".join(parts[1])).encode("latin-1", "replace"))


@pytest.fixture(scope="module")
def origin_of_all() -> Iterator[ScriptedOrigin]:
    """Has every key of its bucket, and lets nobody store it."""
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"x", {"Cache-Control": "no-store"}))
        yield origin


@pytest.fixture(scope="module", params=PREFIXES)
def confined(
    request: pytest.FixtureRequest, origin_of_all: ScriptedOrigin
) -> Iterator[tuple[Served, str]]:
    """A proxy with a key prefix, which is there too."""
    environ = {"S3_PREFIX": request.param, "ADMIN_PREFIX": "/-"}
    with Served(origin_of_all.environ() | environ) as served:
        yield served, request.param


def asked_for(served: Served, origin: ScriptedOrigin, target: bytes) -> tuple[int, list[bytes]]:
    """The status of the answer, the targets that the origin was asked for."""
    before = origin.count()
    with RawConnection("127.0.0.1", served.port) as client:
        client.get(target)
        status = client.read_response().status
    return status, [request.target for request in origin.requests[before:]]


def leads_out(path: bytes, bucket: str, prefix: str) -> str | None:
    """What is wrong with a request path, None where it is in its place."""
    place = f"/{bucket}/{quote(prefix, safe='/~')}".encode()
    if not path.startswith(place):
        return "is not under bucket and prefix"
    if not re.fullmatch(rb"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*", path):
        return "has a character that is not encoded"
    if b"%2F" in path or b"%2E" in path:
        return "has a slash or a dot encoded, which some stacks decode before they look"
    decoded = unquote_to_bytes(path)
    if not decoded.startswith(f"/{bucket}/{prefix}".encode()):
        return "decodes to another place"
    if {b".", b".."} & set(decoded.split(b"/")):
        return "has a dot segment"
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        return "decodes to a control character"
    decoded.decode("utf-8")
    return None


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(target=targets)
@example(target=b"/%2e%2e/other-bucket/x")
@example(target=b"/..%5c..%5cother-bucket")
@example(target=b"/..;/other-bucket/x")
@example(target=b"http://evil.test@127.0.0.1/../other-bucket/x")
@example(target=b"//evil.test/%2e%2e/%2e%2e/other-bucket")
def test_no_target_leads_out_of_bucket_and_prefix(
    confined: tuple[Served, str], origin_of_all: ScriptedOrigin, target: bytes
) -> None:
    served, prefix = confined
    status, asked = asked_for(served, origin_of_all, target)
    if status in REFUSED:
        assert asked == []
        return
    assert status == 200
    [path] = asked
    assert leads_out(path, origin_of_all.bucket, prefix) is None
    # Once decoded it is the key, which is what the client's path is once decoded.
    sent = target.partition(b"?")[0]
    if sent.startswith(b"/"):
        assert unquote_to_bytes(path).endswith(unquote_to_bytes(sent[1:]))


@pytest.mark.parametrize(
    "path",
    [
        b"/other/x", b"/bucketx", b"/bucket/site/../x", b"/bucket/site/%2E%2E/x",
        b"/bucket/site/%252e/.", b"/bucket/site/a%2Fb", b"/bucket/site/a;b", b"/bucket/sit",
        b"/bucket/site/a\\b", b"/bucket/site/%0A",
    ],
)  # fmt: skip
def test_the_judge_sees_what_leads_out(path: bytes) -> None:
    assert leads_out(path, "bucket", "site/") is not None
    assert leads_out(b"/bucket/site/a%5Cb..c", "bucket", "site/") is None
