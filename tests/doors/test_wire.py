"""What the protocol answers by itself is what Django's way puts on the wire, to the byte."""

from __future__ import annotations

import contextlib
import itertools
import re
from typing import TYPE_CHECKING

import pytest

from tests.origins import cut_after, respond, s3_error
from tests.origins.scripted import ScriptedOrigin
from tests.raw_http import NoResponse, RawConnection
from tests.served.process import Served
from tests.served.with_middleware import MODULE
from tests.server.conversation import eventually, request

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)
VOLATILE = {b"age", b"x-request-id"}
FIELDS = {
    "plain": (),
    "range": ("Range: bytes=1-3",),
    "ranges": ("Range: bytes=0-1,3-4",),
    "unsatisfiable": ("Range: bytes=999999999-",),
    "if-none-match": ('If-None-Match: "e"',),
    "if-match": ('If-Match: "other"',),
    "close": ("Connection: close",),
    "html": ("Accept: text/html",),
    "only-if-cached": ("Cache-Control: only-if-cached",),
    "no-store": ("Cache-Control: no-store",),
    "credentials": ("Authorization: Bearer x",),
}
LARGE = b"0123456789abcdef" * 16384
# What there is at the origin under names that begin so.
OBJECTS = {
    "small": respond(200, b"hello", {"Content-Type": "text/plain", "ETag": '"e"'}),
    "empty": respond(200, b""),
    "bare": respond(200, b"hello", {"Cache-Control": "no-store"}),
    "chunked": respond(200, b"hello" * 5, chunked=True),
    "large": respond(200, LARGE, {"ETag": '"l"'}),
    "too-large": respond(200, LARGE * 2, {"ETag": '"l"'}),
    "too-large-chunked": respond(200, LARGE * 2, chunked=True),
    "absent": s3_error(404, "NoSuchKey"),
    "denied": s3_error(403, "AccessDenied"),
    "slow-down": s3_error(503, "SlowDown"),
    "wrong-key": s3_error(403, "SignatureDoesNotMatch"),
    "varying": respond(200, b"hello", {"Vary": "Accept", "Cache-Control": "max-age=60"}),
    "at-once-stale": respond(200, b"hello", {"Cache-Control": "max-age=0", "ETag": '"e"'}),
}


@pytest.fixture(scope="module")
def objects() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def ways(objects: ScriptedOrigin) -> Iterator[tuple[Served, Served]]:
    """The proxy, and one that leaves every request to Django."""
    environ = objects.environ() | {"MAX_OBJECT_SIZE": "300KiB", "S3_RETRIES": "0"}
    with (
        Served(environ) as ours,
        Served(environ | {"DJANGO_SETTINGS_MODULE": MODULE}) as djangos,
    ):
        yield ours, djangos


def on_the_wire(served: Served, sent: bytes, method: str) -> tuple[object, ...]:
    """An answer as it came, but for what differs each time."""
    with RawConnection("127.0.0.1", served.port) as client:
        client.send(sent)
        answer = client.read_response(method)
        fields = [
            (name, b"" if name in VOLATILE else without_chance(value))
            for name, value in answer.headers
            # Where an error's is does not matter, as long as it has one.
            if name != b"date"
        ]
        assert len(answer.values("Date")) == 1
        body = without_chance(answer.body)
        return answer.version, answer.status, answer.reason, fields, body, answer.complete


def without_chance(text: bytes) -> bytes:
    return re.sub(rb"ttl=-?[0-9]+|[0-9a-f]{32}", b"", text)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_the_same_bytes(
    ways: tuple[Served, Served], objects: ScriptedOrigin, kind: str, fields: tuple[str, ...]
) -> None:
    for method in ("GET", "HEAD"):
        name = f"{kind}-{next(_numbers)}"
        objects.on(name, OBJECTS[kind])
        sent = request(f"/{name}?q", *fields, method=method)
        # The second time it may be in memory; what is large may be on its way still, or not.
        for _ in range(1 if "large" in kind else 2):
            ours, djangos = (on_the_wire(served, sent, method) for served in ways)
            assert ours == djangos
            if kind == "chunked":
                # A HEAD, or a 304, has its answer before such a body has come.
                eventually(lambda: not any(map(is_asking, ways)))


def is_asking(served: Served) -> bool:
    return "\nproxy_origin_under_way 0.0\n" not in served.admin("GET", "/metrics").text


def test_the_same_counts(ways: tuple[Served, Served], objects: ScriptedOrigin) -> None:
    before = [counts(served) for served in ways]
    for kind, answer in OBJECTS.items():
        objects.on(f"counted-{kind}", answer)
        for method, field in itertools.product(("GET", "HEAD"), ("X: y", "Range: bytes=1-2")):
            sent = request(f"/counted-{kind}", field, "Cache-Control: no-cache", method=method)
            for served in ways:
                on_the_wire(served, sent, method)
    objects.on("broken", cut_after(100_000, respond(200, LARGE)))
    for served in ways:
        with RawConnection("127.0.0.1", served.port) as client:
            client.send(request("/broken"))
            with contextlib.suppress(NoResponse):
                assert not client.read_response().complete
    ours, djangos = (
        {name: value - earlier.get(name, 0) for name, value in counts(served).items()}
        for served, earlier in zip(ways, before, strict=True)
    )
    assert ours == djangos
    view = 'view="object"'
    total = "django_http_requests_total_by_view_transport_method_total"
    assert ours[f'{total}{{method="HEAD",transport="http",{view}}}'] == len(OBJECTS) * 2


def counts(served: Served) -> dict[str, float]:
    """What is counted of requests, answers and the cache; no times."""
    lines = [
        line.rpartition(" ")
        for line in served.admin("GET", "/metrics").text.splitlines()
        if line.startswith(("django_http", "proxy_cache", "proxy_client"))
    ]
    return {
        name: float(value)
        for name, _, value in lines
        # Whether a small body comes at once is a matter of milliseconds.
        if not any(part in name for part in ("_sum", "_bucket", "cache_bytes", "streaming"))
    }
