"""Checks that the origins of other tests do what those tests rely on."""

from __future__ import annotations

import asyncio
import http.client
import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import (
    S3Site,
    ScriptedOrigin,
    Step,
    black_hole,
    close_before_reply,
    conditional,
    cut_after,
    drip,
    free_ports,
    half_head,
    hold,
    per_request,
    raw_bytes,
    redirect,
    refusing_port,
    respond,
    s3_error,
    sequence,
)
from tests.raw_http import NoResponse, RawConnection

if TYPE_CHECKING:
    from tests.origins.exchange import Exchange
    from tests.raw_http import OpenRaw, RawResponse

ETAG = '"5d41402abc4b2a76b9719d911017c592"'
MODIFIED = "Tue, 01 Oct 2024 10:00:00 GMT"
LATER = "Tue, 01 Oct 2024 10:00:01 GMT"


def ask(origin: ScriptedOrigin, key: str, *headers: str, method: str = "GET") -> RawResponse:
    """One request on a connection of its own."""
    with RawConnection("127.0.0.1", origin.port) as connection:
        connection.get(f"/bucket/{key}", *headers, method=method)
        return connection.read_response(method)


# Real servers


def stores_and_returns(site: S3Site) -> None:
    site.client.put_object(
        Bucket=site.bucket, Key="a/ü b.txt", Body=b"hello", ContentType="text/plain"
    )
    stored = site.client.get_object(Bucket=site.bucket, Key="a/ü b.txt")
    assert stored["Body"].read() == b"hello"
    assert stored["ContentType"] == "text/plain"
    with pytest.raises(site.client.exceptions.NoSuchKey):
        site.client.get_object(Bucket=site.bucket, Key="absent")


def test_moto_stores_and_returns_objects(moto_site: S3Site) -> None:
    stores_and_returns(moto_site)


def test_seaweed_stores_and_returns_objects(seaweed_site: S3Site) -> None:
    stores_and_returns(seaweed_site)


def test_seaweed_refuses_unsigned_requests(seaweed_site: S3Site) -> None:
    seaweed_site.client.put_object(Bucket=seaweed_site.bucket, Key="k", Body=b"secret")
    host = seaweed_site.endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("GET", f"/{seaweed_site.bucket}/k")
    response = connection.getresponse()
    assert response.status == 403
    connection.close()


def test_each_test_has_an_empty_bucket(moto_site: S3Site) -> None:
    assert "Contents" not in moto_site.client.list_objects_v2(Bucket=moto_site.bucket)


def test_tests_that_need_seaweed_are_marked(request: pytest.FixtureRequest) -> None:
    marked = {item.name for item in request.session.items if item.get_closest_marker("seaweedfs")}
    assert "test_moto_stores_and_returns_objects" not in marked
    needing = {
        item.name
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and ("seaweed_site" in item.fixturenames or "[seaweed_site]" in item.name)
    }
    assert needing <= marked


# Ports


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_refusing_port_refuses() -> None:
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        RawConnection("127.0.0.1", port)


# The scripted origin: what it answers


def test_an_answer_has_the_given_headers_and_its_length_only(origin: ScriptedOrigin) -> None:
    origin.on("a/b.txt", respond(200, b"hello", {"ETag": ETAG, "X-A": "1"}))
    response = ask(origin, "a/b.txt")
    assert (response.status, response.reason, response.body) == (200, b"OK", b"hello")
    assert response.headers == (
        (b"ETag", ETAG.encode()),
        (b"X-A", b"1"),
        (b"Content-Length", b"5"),
    )


def test_head_has_the_same_headers_and_no_body(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"hello"))
    with RawConnection("127.0.0.1", origin.port) as connection:
        connection.get("/bucket/k", method="HEAD")
        assert connection.read_response("HEAD").header("Content-Length") == b"5"
        connection.get("/bucket/k")
        assert connection.read_response().body == b"hello"


def test_repeated_headers_are_possible(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, headers=(("Cache-Control", "a"), ("Cache-Control", "b"))))
    assert ask(origin, "k").values("Cache-Control") == [b"a", b"b"]


def test_chunked_answers_are_complete(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"hello", chunked=True))
    response = ask(origin, "k")
    assert response.header("Transfer-Encoding") == b"chunked"
    assert (response.body, response.complete) == (b"hello", True)


def test_a_missing_length_ends_the_body_with_the_connection(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"hello", content_length="missing"))
    response = ask(origin, "k")
    assert response.header("Content-Length") is None
    assert response.body == b"hello"


def test_a_length_too_long_leaves_the_body_incomplete(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"hello", content_length=9))
    response = ask(origin, "k")
    assert (response.body, response.complete) == (b"hello", False)


def test_a_length_too_short_leaves_bytes_behind_the_body(
    origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("k", respond(200, b"hello", content_length=2))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    assert connection.read_response().body == b"he"
    assert connection.read_exactly(9) == b"llo"


def test_an_unscripted_key_does_not_exist(origin: ScriptedOrigin) -> None:
    response = ask(origin, "k")
    assert response.status == 404
    assert b"<Code>NoSuchKey</Code>" in response.body


def test_the_default_answers_for_every_other_key(origin: ScriptedOrigin) -> None:
    origin.on("k", respond(200, b"k"))
    origin.default(respond(200, b"any"))
    assert [ask(origin, "k").body, ask(origin, "other").body] == [b"k", b"any"]


def test_a_target_outside_the_bucket_is_no_key(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    origin.default(respond(200))
    connection = raw(origin.port)
    connection.get("/bucket-2/k")
    assert b"NoSuchBucket" in connection.read_response().body
    assert origin.requests[0].key is None


def test_a_sequence_answers_in_order_and_repeats_its_last(origin: ScriptedOrigin) -> None:
    origin.on("k", sequence(s3_error(503, "SlowDown"), respond(200, b"1"), respond(200, b"2")))
    assert [ask(origin, "k").status for _ in range(4)] == [503, 200, 200, 200]
    assert ask(origin, "k").body == b"2"


def test_an_error_looks_like_that_of_s3(origin: ScriptedOrigin) -> None:
    origin.on("k", s3_error(403, "AccessDenied", "Access <Denied>"))
    response = ask(origin, "k")
    assert response.status == 403
    assert response.header("Content-Type") == b"application/xml"
    assert b"<Code>AccessDenied</Code><Message>Access &lt;Denied&gt;<" in response.body


def test_a_redirect_has_a_location(origin: ScriptedOrigin) -> None:
    origin.on("k", redirect("http://127.0.0.1:9/", 301))
    response = ask(origin, "k")
    assert (response.status, response.header("Location")) == (301, b"http://127.0.0.1:9/")


def test_a_function_of_the_request_can_answer(origin: ScriptedOrigin) -> None:
    origin.default(per_request(lambda request: respond(200, request.key or "")))
    assert ask(origin, "some/key").body == b"some/key"


def test_raw_bytes_go_out_as_they_are(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    origin.on("k", raw_bytes(b"HTTP/1.1 banana\r\n\r\n"))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    assert connection.read_exactly(100) == b"HTTP/1.1 banana\r\n\r\n"


# The scripted origin: when it answers


def test_a_gate_holds_the_answer_until_it_opens(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    gate = origin.gate()
    origin.on("k", hold(gate), respond(200, b"late"))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    origin.wait_for(1, "k")
    with pytest.raises(TimeoutError):
        connection.read_response(timeout=0.1)
    gate.open()
    assert connection.read_response().body == b"late"
    connection.get("/bucket/k")
    assert connection.read_response().body == b"late"


def test_a_drip_sends_one_piece_for_each_admission(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    gate = origin.gate()
    origin.on("k", drip(b"abcdef", 2, gate=gate))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    assert b"Content-Length: 6" in connection.read_head()
    gate.admit()
    assert connection.read_exactly(2) == b"ab"
    with pytest.raises(TimeoutError):
        connection.read_exactly(1, timeout=0.1)
    gate.admit(2)
    assert connection.read_exactly(4) == b"cdef"


def test_a_drip_can_be_chunked(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    origin.on("k", drip(b"abc", 2, interval=0.001, chunked=True))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    connection.read_head()
    assert connection.read_exactly(18) == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_an_interval_lies_between_two_pieces(origin: ScriptedOrigin) -> None:
    origin.on("k", drip(b"abc", 1, interval=0.05))
    begun = time.monotonic()
    assert ask(origin, "k").body == b"abc"
    assert time.monotonic() - begun >= 0.1


# The scripted origin: how it fails


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_ends_the_connection_within_the_body(origin: ScriptedOrigin, chunked: bool) -> None:
    origin.on("k", cut_after(3, respond(200, b"hello", chunked=chunked)))
    response = ask(origin, "k")
    assert (response.status, response.body, response.complete) == (200, b"hel", False)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_cut_can_be_a_reset(origin: ScriptedOrigin, raw: OpenRaw, count: int) -> None:
    origin.on("k", cut_after(count, respond(200, b"hello", content_length=9), reset=True))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    response = connection.read_response()
    assert (response.body, response.complete) == (b"hello"[:count], False)
    assert connection.was_reset


def test_a_cut_drip_ends_without_another_admission(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    gate = origin.gate()
    origin.on("k", cut_after(2, drip(b"abcdef", 1, gate=gate)))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    gate.admit(2)
    assert connection.read_response().body == b"ab"


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_can_end_without_an_answer(
    origin: ScriptedOrigin, raw: OpenRaw, reset: bool
) -> None:
    origin.on("k", close_before_reply(reset=reset))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    with pytest.raises(NoResponse):
        connection.read_response()
    assert connection.was_reset is reset


@pytest.mark.parametrize(
    ("step", "said"),
    [(black_hole(), b""), (half_head(), b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCont")],
)
def test_silence_lasts_until_the_client_leaves(
    origin: ScriptedOrigin, raw: OpenRaw, step: Step, said: bytes
) -> None:
    origin.on("k", step)
    connection = raw(origin.port)
    connection.get("/bucket/k")
    assert connection.read_exactly(len(said)) == said
    with pytest.raises(TimeoutError):
        connection.read_response(timeout=0.1)
    assert (origin.disconnects, origin.open_connections) == (0, 1)
    connection.close()
    origin.wait_until(lambda: origin.open_connections == 0)
    assert origin.disconnects == 1


def test_an_origin_that_is_down_refuses_until_it_comes_back(
    origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.default(respond(200, b"up"))
    kept = raw(origin.port)
    kept.get("/bucket/k")
    kept.read_response()
    origin.go_down()
    assert kept.read_eof()
    with pytest.raises(ConnectionRefusedError):
        raw(origin.port)
    origin.come_back()
    assert ask(origin, "k").body == b"up"


def test_a_mistake_in_a_script_fails_the_test() -> None:
    class Mistake:
        async def play(self, exchange: Exchange) -> None:
            raise LookupError("mistake")

    origin = ScriptedOrigin()
    origin.on("k", Mistake())
    with pytest.raises(NoResponse):
        ask(origin, "k")
    with pytest.raises(LookupError):
        origin.stop()


# The scripted origin: what it remembers


def test_requests_are_recorded_byte_for_byte(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    connection = raw(origin.port)
    before = time.monotonic()
    connection.send(
        b"GET /bucket/a%2fb//c?x=%zz HTTP/1.1\r\nhOsT: h\r\nX-Twice: 1\r\nX-Twice: \xff\r\n\r\n"
    )
    connection.read_response()
    (request,) = origin.requests
    assert (request.method, request.target) == ("GET", b"/bucket/a%2fb//c?x=%zz")
    assert request.headers == ((b"hOsT", b"h"), (b"X-Twice", b"1"), (b"X-Twice", b"\xff"))
    assert request.header("host") == "h"
    assert request.key == "a/b//c"
    assert before <= request.arrived <= time.monotonic()


def test_requests_are_counted_by_key(origin: ScriptedOrigin) -> None:
    for key in ("a", "b", "a"):
        ask(origin, key)
    assert (origin.count("a"), origin.count("b"), origin.count("c")) == (2, 1, 0)
    assert origin.count() == 3


def test_bodies_of_requests_are_recorded(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    connection = raw(origin.port)
    connection.send(b"PUT /bucket/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
    connection.read_response()
    assert origin.requests[0].body == b"hello"


def test_a_connection_serves_several_requests(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    connection = raw(origin.port)
    connection.send(b"GET /bucket/%d HTTP/1.1\r\nHost: h\r\n\r\n" % 1)
    connection.send(b"GET /bucket/%d HTTP/1.1\r\nHost: h\r\n\r\n" % 2)
    assert [connection.read_response().status for _ in range(2)] == [404, 404]
    assert [(r.key, r.connection) for r in origin.requests] == [("1", 1), ("2", 1)]


def test_connections_can_end_after_each_answer(raw: OpenRaw) -> None:
    with ScriptedOrigin(close_each=True) as origin:
        connection = raw(origin.port)
        connection.get("/bucket/k")
        assert connection.read_response().header("Connection") == b"close"
        assert connection.read_eof()


def test_open_connections_are_counted(origin: ScriptedOrigin, raw: OpenRaw) -> None:
    first, second = raw(origin.port), raw(origin.port)
    origin.wait_until(lambda: origin.open_connections == 2)
    first.close()
    second.reset()
    origin.wait_until(lambda: origin.open_connections == 0)
    assert (origin.connections, origin.disconnects) == (2, 0)


def test_a_client_that_leaves_within_a_body_is_a_disconnect(
    origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("k", respond(200, bytes(64 << 20)))
    connection = raw(origin.port)
    connection.get("/bucket/k")
    connection.read_head()
    connection.reset()
    origin.wait_until(lambda: origin.disconnects == 1)


def test_waiting_for_requests_that_do_not_come_fails(origin: ScriptedOrigin) -> None:
    ask(origin, "k")
    with pytest.raises(AssertionError, match="GET /bucket/k"):
        origin.wait_for(2, timeout=0.05)


async def test_an_async_test_can_use_the_origin(origin: ScriptedOrigin) -> None:
    gate = origin.gate()
    origin.on("k", hold(gate), respond(200, b"async"))
    reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)
    writer.write(b"GET /bucket/k HTTP/1.1\r\nHost: h\r\n\r\n")
    await origin.until_requests(1, "k")
    gate.open()
    assert (await reader.readuntil(b"async")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await writer.wait_closed()
    await origin.until(lambda: origin.open_connections == 0)


# The scripted origin: objects with validators


@pytest.fixture
def an_object(origin: ScriptedOrigin) -> ScriptedOrigin:
    origin.on("k", conditional(b"0123456789", ETAG, MODIFIED, {"Content-Type": "text/plain"}))
    return origin


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"If-None-Match: {ETAG}", 304),
        (f'If-None-Match: "x", W/{ETAG}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "x"', 200),
        (f"If-Modified-Since: {MODIFIED}", 304),
        (f"If-Modified-Since: {LATER}", 304),
        ("If-Modified-Since: Tue, 01 Oct 2024 09:59:59 GMT", 200),
        (f"If-Match: {ETAG}", 200),
        ('If-Match: "x"', 412),
        (f"If-Unmodified-Since: {MODIFIED}", 200),
        ("If-Unmodified-Since: Tue, 01 Oct 2024 09:59:59 GMT", 412),
        ("Range: bytes=0-1,3-4", 200),
        ("Range: lines=1-2", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions_choose_the_status(
    an_object: ScriptedOrigin, header: str, status: int, method: str
) -> None:
    response = ask(an_object, "k", header, method=method)
    assert response.status == status
    assert response.body == (b"0123456789" if (status, method) == (200, "GET") else response.body)


def test_if_none_match_takes_precedence_over_the_date(an_object: ScriptedOrigin) -> None:
    response = ask(an_object, "k", 'If-None-Match: "x"', f"If-Modified-Since: {MODIFIED}")
    assert response.status == 200


def test_a_304_has_the_validators_and_no_length(an_object: ScriptedOrigin) -> None:
    response = ask(an_object, "k", f"If-None-Match: {ETAG}")
    assert response.header("ETag") == ETAG.encode()
    assert response.header("Last-Modified") == MODIFIED.encode()
    assert response.header("Content-Length") is None


@pytest.mark.parametrize(
    ("wanted", "body", "content_range"),
    [
        ("0-0", b"0", b"bytes 0-0/10"),
        ("2-4", b"234", b"bytes 2-4/10"),
        ("8-", b"89", b"bytes 8-9/10"),
        ("8-99", b"89", b"bytes 8-9/10"),
        ("-3", b"789", b"bytes 7-9/10"),
        ("-99", b"0123456789", b"bytes 0-9/10"),
    ],
)
def test_a_range_is_served_as_206(
    an_object: ScriptedOrigin, wanted: str, body: bytes, content_range: bytes
) -> None:
    response = ask(an_object, "k", f"Range: bytes={wanted}", f"If-Match: {ETAG}")
    assert (response.status, response.body) == (206, body)
    assert response.header("Content-Range") == content_range


@pytest.mark.parametrize("wanted", ["10-", "99-100", "-0"])
def test_a_range_past_the_end_is_416(an_object: ScriptedOrigin, wanted: str) -> None:
    response = ask(an_object, "k", f"Range: bytes={wanted}")
    assert response.status == 416
    assert response.header("Content-Range") == b"bytes */10"
