"""Strict HTTP/1.1 framing: RFC 9112."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.raw_http import NoResponse, RawConnection
from tests.server.conversation import HOST, request, responses_until_closed, rest_of

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Served

LIMIT = 32 * 1024
CHUNKED = "Transfer-Encoding: chunked"
NEXT = request("/next")


def head(fields: bytes, line: bytes = b"GET /a HTTP/1.1") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


MALFORMED = {
    "no Host": b"",
    "two Hosts": HOST + HOST,
    "two different Hosts": HOST + b"Host: other\r\n",
    "a Host with a space": b"Host: a b\r\n",
    "a Host with a path": b"Host: a/b\r\n",
    "a Host with userinfo": b"Host: a@b\r\n",
    "Content-Length and Transfer-Encoding": HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding and Content-Length": HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "two equal lengths": HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": HOST + b"Content-Length: 5, 5\r\n",
    "a length with a plus": HOST + b"Content-Length: +5\r\n",
    "a negative length": HOST + b"Content-Length: -5\r\n",
    "a length with an underscore": HOST + b"Content-Length: 1_0\r\n",
    "a hexadecimal length": HOST + b"Content-Length: 0x5\r\n",
    "a length of two words": HOST + b"Content-Length: 5 5\r\n",
    "an empty length": HOST + b"Content-Length:\r\n",
    "a length beyond 64 bits": HOST + b"Content-Length: 99999999999999999999999\r\n",
    "a coding that is not chunked": HOST + b"Transfer-Encoding: gzip\r\n",
    "identity": HOST + b"Transfer-Encoding: identity\r\n",
    "something like chunked": HOST + b"Transfer-Encoding: xchunked\r\n",
    "chunked not last": HOST + b"Transfer-Encoding: chunked, gzip\r\n",
    "a coding before chunked": HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice": HOST + b"Transfer-Encoding: chunked, chunked\r\n",
    "two codings": HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a vertical tab before chunked": HOST + b"Transfer-Encoding: \x0bchunked\r\n",
    "an empty coding": HOST + b"Transfer-Encoding:\r\n",
    "a space before the colon": HOST + b"X : y\r\n",
    "a coding with a space before the colon": HOST + b"Transfer-Encoding : chunked\r\n",
    "a tab in a name": HOST + b"X\ty: z\r\n",
    "NUL in a name": HOST + b"X\x00: y\r\n",
    "a parenthesis in a name": HOST + b"X(: y\r\n",
    "a name beyond ASCII": HOST + b"\xc3\xbc: y\r\n",
    "no name": HOST + b": y\r\n",
    "no colon": HOST + b"X\r\n",
    "NUL in a value": HOST + b"X: a\x00b\r\n",
    "a control character in a value": HOST + b"X: a\x01b\r\n",
    "DEL in a value": HOST + b"X: a\x7fb\r\n",
    "a bare CR in a value": HOST + b"X: a\rb\r\n",
    "a bare LF after a field": b"Host: test\nX: y\r\n",
    "a folded line": HOST + b"X: a\r\n b\r\n",
    "a space before the first field": b" " + HOST,
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_head_is_answered_once_and_the_connection_closed(
    proxy: Served, module_origin: ScriptedOrigin, fields: bytes
) -> None:
    before = module_origin.count()
    answers = responses_until_closed(proxy.port, head(fields) + b"0\r\n\r\n" + NEXT)
    assert [answer.status for answer in answers] == [400]
    assert answers[0].header("Connection") == b"close"
    assert answers[0].complete
    assert module_origin.count() == before


LINES = {
    "a lower-case method": (b"get /a HTTP/1.1", 501),
    "an unknown method": (b"BREW /a HTTP/1.1", 501),
    "an unknown method like a known one": (b"GETS /a HTTP/1.1", 501),
    "an unknown method behind line ends": (b"\r\n\r\nBREW /a HTTP/1.1", 501),
    "an unknown method of another version": (b"BREW /a HTTP/2.0", 400),
    "an unknown method without a version": (b"BREW /a", 400),
    "what is no token for a method": (b"BR(EW /a HTTP/1.1", 400),
    "a space behind the version": (b"GET /a HTTP/1.1 ", 400),
    "a version to come": (b"GET /a HTTP/1.2", 400),
    "a version in words": (b"GET /a HTTP/one", 400),
    "HTTP/2.0 on this framing": (b"GET /a HTTP/2.0", 505),
    "HTTP/0.9": (b"GET /a", 400),
    "authority form": (b"CONNECT test:443 HTTP/1.1", 400),
    "asterisk form of another method": (b"GET * HTTP/1.1", 400),
    "a tab for a space": (b"GET\t/a\tHTTP/1.1", 400),
    "no target": (b"GET  HTTP/1.1", 400),
}


@pytest.mark.parametrize(("line", "status"), LINES.values(), ids=LINES)
def test_a_malformed_request_line_is_answered_once_and_the_connection_closed(
    proxy: Served, line: bytes, status: int
) -> None:
    answers = responses_until_closed(proxy.port, head(HOST, line) + NEXT)
    assert [answer.status for answer in answers] == [status]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\nHost: test\n\n",
        b"GET /a HTTP/1.1\r\nHost: test\r\n\n",
        b"GET /a HTTP/1.1\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
    ids=["bare LF", "LF at the end", "LF first", "HTTP/2", "TLS", "NULs", "1.0 coded", "1.0 Hosts"],
)
def test_what_is_no_http_1_1_is_refused(proxy: Served, sent: bytes) -> None:
    assert [answer.status for answer in responses_until_closed(proxy.port, sent)] == [400]


def test_a_refusal_bears_a_request_id_and_says_nothing_of_the_server(proxy: Served) -> None:
    [answer] = responses_until_closed(proxy.port, head(b""))
    request_id = (answer.header("X-Request-ID") or b"").decode()
    logged = proxy.wait_for_log(lambda record: record.get("request_id") == request_id)
    assert (logged["status"], logged["bytes"]) == (400, len(answer.body))
    assert answer.header("Server") is None
    assert answer.header("Date") is not None


def test_an_unknown_method_is_told_so_on_a_connection_that_was_used(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    before = module_origin.count("brew")
    client = raw(proxy.port)
    client.send(request("/a"))
    assert client.read_response().status == 200
    client.send(request("/brew", method="BREW") + NEXT)
    answers = rest_of(client)
    assert [(answer.status, answer.header("Connection")) for answer in answers] == [(501, b"close")]
    assert module_origin.count("brew") == before


def test_connect_is_answered_and_closed(proxy: Served) -> None:
    answers = responses_until_closed(proxy.port, request("/a", method="CONNECT") + NEXT)
    assert [answer.status for answer in answers] == [405]


def test_line_ends_before_a_request_are_ignored(proxy: Served, raw: OpenRaw) -> None:
    client = raw(proxy.port)
    client.send(b"\r\n\r\n" + request() + b"\r\n" + request())
    assert [client.read_response().status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("fields", [b"Host:\r\n", b"Host: [::1]:80\r\n", HOST + b"X:\r\n"])
def test_unusual_but_valid_heads_are_served(proxy: Served, raw: OpenRaw, fields: bytes) -> None:
    client = raw(proxy.port)
    client.send(head(fields))
    assert client.read_response().status == 200


def padded(size: int, count: int = 1) -> bytes:
    """A sound head of exactly `size` bytes, padded with `count` fields."""
    bare = head(HOST + b"".join(b"X%d: \r\n" % n for n in range(count)))
    filler, rest = divmod(size - len(bare), count)
    values = [b"x" * filler] * (count - 1) + [b"x" * (filler + rest)]
    made = head(HOST + b"".join(b"X%d: %b\r\n" % (n, value) for n, value in enumerate(values)))
    assert len(made) == size
    return made


@pytest.mark.parametrize("count", [1, 1000])
@pytest.mark.parametrize(
    "pieces", [1, 40], ids=["in one packet", "in forty packets"]
)  # fmt: skip
def test_a_head_at_the_limit_is_served(
    proxy: Served, raw: OpenRaw, count: int, pieces: int
) -> None:
    client = raw(proxy.port)
    for _ in range(2):
        for piece in in_pieces(padded(LIMIT, count), pieces):
            client.send(piece)
        assert client.read_response().status == 200


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
@pytest.mark.parametrize("pieces", [1, 40], ids=["in one packet", "in forty packets"])
def test_a_larger_head_is_refused(proxy: Served, size: int, pieces: int) -> None:
    with RawConnection("127.0.0.1", proxy.port) as client:
        for piece in in_pieces(padded(size), pieces):
            client.send(piece)
        assert [answer.status for answer in rest_of(client)] == [431]


def test_a_head_without_an_end_is_refused_at_the_limit(proxy: Served) -> None:
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(padded(2 * LIMIT)[:-2])
        assert [answer.status for answer in rest_of(client)] == [431]


def test_a_refusal_reaches_a_client_that_still_sends(proxy: Served) -> None:
    # RFC 9112 §9.6: closed at once, TCP would reset the connection and take the answer with it.
    for _ in range(5):
        with RawConnection("127.0.0.1", proxy.port) as client:
            client.send(padded(2 * LIMIT)[:-2] + b"x" * 3_000_000)
            answer = client.read_response()
            assert (answer.status, answer.complete) == (431, True)
            client.send(b"x" * 100_000)
            assert client.read_eof()
            assert not client.was_reset


def test_a_target_longer_than_a_head_may_be_is_refused(proxy: Served) -> None:
    answers = responses_until_closed(proxy.port, request("/" + "k" * LIMIT))
    assert [answer.status for answer in answers] == [431]


def in_pieces(data: bytes, count: int) -> list[bytes]:
    size = -(-len(data) // count)
    return [data[start : start + size] for start in range(0, len(data), size)]


BODIES = {
    "with a length": request("/a", "Content-Length: 5", body=b"GET /"),
    "of no bytes": request("/a", "Content-Length: 0"),
    "in chunks": request("/a", CHUNKED, body=b"3\r\nGET\r\n2;x=y\r\n /\r\n0\r\n\r\n"),
    "in chunks with a trailer": request("/a", CHUNKED, body=b"0\r\nHost: other\r\n\r\n"),
    "that is a request": request("/a", f"Content-Length: {len(NEXT)}", body=NEXT),
    "of a method not allowed": request("/a", "Content-Length: 5", method="PUT", body=b"GET /"),
}


@pytest.mark.parametrize("sent", BODIES.values(), ids=BODIES)
def test_a_body_is_never_taken_for_the_next_request(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, sent: bytes
) -> None:
    client = raw(proxy.port)
    client.send(sent + request("/after-a-body"))
    status = 405 if sent.startswith(b"PUT") else 200
    assert client.read_response().status == status
    assert (client.read_response().status, module_origin.requests[-1].method) == (200, "GET")
    client.get("/after-a-body")
    assert client.read_response().header("X-Cache") == b"HIT"
    assert not client.read_eof(timeout=0.05)


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_a_large_body_that_nobody_reads_is_dropped(proxy: Served, raw: OpenRaw, size: int) -> None:
    client = raw(proxy.port)
    client.send(request("/a", f"Content-Length: {size}", method="POST"))
    assert client.read_response().status == 405
    for _ in range(10):
        client.send(b"x" * (size // 10))
    client.send(NEXT)
    assert client.read_response().status == 200
    assert not client.read_eof(timeout=0.05)


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n", b"-1\r\n", b"+1\r\nx\r\n", b"0x3\r\nabc\r\n", b"3 \r\nabc\r\n", b"3\r\nabcd\r\n",
        b"3\nabc\n0\n\n",
        b"3;a\nb\r\nabc\r\n", b"f" * 17 + b"\r\n", b"0\r\nX : y\r\n\r\n", b"3\rabc",
        b"\r\n",
    ],
)  # fmt: skip
def test_bad_chunks_end_the_connection_without_a_second_answer(proxy: Served, body: bytes) -> None:
    answers = responses_until_closed(proxy.port, request("/a", CHUNKED, body=body) + NEXT)
    # The request itself needs no body, so it may be answered; what follows cannot be told.
    assert [answer.status for answer in answers] in ([200], [400])


@pytest.mark.parametrize("first", [*range(1, len(NEXT), 7), len(NEXT) - 1])
def test_a_head_may_arrive_in_any_two_pieces(proxy: Served, raw: OpenRaw, first: int) -> None:
    client = raw(proxy.port)
    client.send(NEXT[:first])
    client.send(NEXT[first:])
    assert client.read_response().body == b"hello"


def test_a_client_that_says_nothing_sensible_gets_no_traceback_into_the_log(
    proxy: Served,
) -> None:
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(b"\r\n" * 20_000 + b"\x00")
        with contextlib.suppress(NoResponse):
            client.read_response()
    assert "Traceback" not in proxy.output
