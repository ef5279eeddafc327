"""What a client may send that no honest one does, and what comes back.

What tests/server holds already (framing, deadlines, disconnects, targets) is not repeated here.
"""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# Of heads that fill what a head may be.
MANY = 30_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that go out over one connection, and the statuses of the answers to them.

    ``closed``: the server ends the connection after the last of them. ``half_closed``: the client
    ends its direction.
    """

    name: str
    sent: bytes
    answers: tuple[int, ...]
    closed: bool = False
    half_closed: bool = False


def get(fields: bytes = b"", target: bytes = b"/a", *, line: bytes | None = None) -> bytes:
    """A GET with a Host, and whatever else."""
    return (line or b"GET %b HTTP/1.1" % target) + b"\r\n" + HOST + fields + b"\r\n"


def field(name: bytes, unit: bytes, size: int = MANY) -> bytes:
    """A field whose value is ``unit`` over and over."""
    return name + b": " + unit * (size // len(unit)) + b"\r\n"


# fmt: off
FAULTS = (
    # Whatever is before, between, instead of requests.
    Fault("nothing, then the end", b"", (), closed=True, half_closed=True),
    Fault("line ends, then the end", b"\r\n\r\n", (), closed=True, half_closed=True),
    Fault("half a head, then the end", get()[:-5], (), closed=True, half_closed=True),
    Fault("a space before the method", b" " + get(), (400,), closed=True),
    Fault("a line of a proxy protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(), (400,), closed=True),
    Fault("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (400,), closed=True),
    Fault("bare CRs", b"GET /a HTTP/1.1\rHost: test\r\r", (400,), closed=True),
    Fault("a request behind garbage", get() + b"garbage\r\n\r\n" + get(), (200, 400), closed=True),
    Fault("a request behind a body that is one byte longer than said",
          get(b"Content-Length: 1\r\n") + b"xx" + get(), (200, 400), closed=True),
    # Targets.
    Fault("absolute form of another host", get(target=b"http://other.test/a"), (200,)),
    Fault("absolute form of another scheme", get(target=b"https://test/a"), (200,)),
    Fault("absolute form of no host", get(target=b"http:///a"), (400,), closed=True),
    Fault("absolute form of no path", get(target=b"http://test"), (400,), closed=True),
    Fault("absolute form of no path but a query", get(target=b"http://test?x"), (400,), closed=True),
    Fault("absolute form with userinfo", get(target=b"http://u:p@test/a"), (200,)),
    Fault("absolute form of a port beyond 65535", get(target=b"http://test:99999/a"), (400,), closed=True),
    Fault("absolute form inside a path", get(target=b"/http://test/a"), (200,)),
    Fault("absolute form over HTTP/1.0", b"GET http://test/a HTTP/1.0\r\n\r\n", (200,), closed=True),
    Fault("asterisk form over HTTP/1.0", b"OPTIONS * HTTP/1.0\r\n\r\n", (204,), closed=True),
    Fault("asterisk form with more behind it", get(line=b"OPTIONS *a HTTP/1.1"), (400,), closed=True),
    Fault("authority form of GET", get(target=b"test:80"), (400,), closed=True),
    Fault("no target but a query", get(target=b"?a"), (400,), closed=True),
    Fault("a target of many slashes", get(target=b"/" * 900), (404,)),
    Fault("a target of many dots", get(target=b"/" + b"../" * 5000), (400,)),
    Fault("a query that fills the head", get(target=b"/a?" + b"x" * MANY), (200,)),
    Fault("a query of escapes that are none", get(target=b"/a?%zz%00%"), (200,)),
    # Bodies.
    Fault("GET with a body that does not come", get(b"Content-Length: 5\r\n"), (200,), closed=True, half_closed=True),
    Fault("HEAD with a body in chunks", get(CHUNKED, line=b"HEAD /a HTTP/1.1") + b"1\r\nx\r\n0\r\n\r\n", (200,)),
    Fault("OPTIONS with a body", get(b"Content-Length: 3\r\n", line=b"OPTIONS /a HTTP/1.1") + b"abc" + get(), (204, 200)),
    Fault("a chunk of a size with many zeros", get(CHUNKED) + b"0" * 500 + b"1\r\nx\r\n0\r\n\r\n" + get(), (200, 200)),
    Fault("a chunk extension with a quoted line end", get(CHUNKED) + b'1;a="\r\n"\r\nx\r\n0\r\n\r\n' + get(), (200,), closed=True),
    Fault("a chunk that ends in LF", get(CHUNKED) + b"1\r\nx\n0\r\n\r\n" + get(), (200,), closed=True),
    Fault("a chunk cut off", get(CHUNKED) + b"5\r\nab", (200,), closed=True, half_closed=True),
    Fault("a trailer that frames", get(CHUNKED) + b"0\r\nContent-Length: 5\r\n\r\n" + get(), (200,), closed=True),
    Fault("an expectation that nobody knows", get(b"Expect: 200-ok\r\n"), (200,)),
    # Fields.
    Fault("many fields of one name", get(b"Range: bytes=0-1\r\n" * 1500), (200,)),
    Fault("a range of many parts", get(field(b"Range", b"0-0,").replace(b": ", b": bytes=")), (200,)),
    Fault("a range of many digits", get(b"Range: bytes=0-" + b"9" * MANY + b"\r\n"), (206,)),
    Fault("a range of many zeros", get(b"Range: bytes=" + b"0" * MANY + b"-1\r\n"), (206,)),
    Fault("a range in other digits", get("Range: bytes=٠-١\r\n".encode()), (200,)),
    Fault("many entity tags", get(field(b"If-None-Match", b'"x",')), (200,)),
    Fault("many quotes", get(field(b"If-None-Match", b'"')), (200,)),
    Fault("many directives", get(field(b"Cache-Control", b"max-age=9,")), (200,)),
    Fault("a directive of many digits", get(b"Cache-Control: max-age=" + b"9" * MANY + b"\r\n"), (200,)),
    Fault("a directive whose quote never ends", get(b'Cache-Control: no-cache="' + b"\\" * MANY + b"\r\n"), (200,)),
    Fault("many media types", get(field(b"Accept", b"text/html;q=0.1,")), (200,)),
    Fault("a weight of many digits", get(b"Accept: text/html;q=0." + b"1" * MANY + b"\r\n"), (200,)),
    Fault("a weight that is no number", get(b"Accept: text/html;q=nan, text/plain;q=inf\r\n", b"/../"), (400,)),
    Fault("a date that is none", get(b"If-Modified-Since: " + b"9" * MANY + b"\r\n"), (200,)),
    Fault("a date beyond time", get(b"If-Modified-Since: Fri, 31 Dec 9999 23:59:60 GMT\r\n"), (200,)),
    Fault("many connection options", get(field(b"Connection", b"host,")), (200,)),
    Fault("many forwarding addresses", get(field(b"X-Forwarded-For", b"::1,")), (200,)),
    Fault("a Host that fills the head", b"GET /a HTTP/1.1\r\n" + field(b"Host", b"h") + b"\r\n", (200,)),
    Fault("a Host of another port", b"GET /a HTTP/1.1\r\nHost: test:99999\r\n\r\n", (200,)),
    Fault("bytes beyond ASCII in a value", get(b"User-Agent: \xff\xfe\x80\r\n"), (200,)),
    Fault("the token of nobody in three ways",
          get(b"X-Auth-Token: \xff\r\nAuthorization: Bearer \xff\r\n", b"/metrics?token=%ff%00"), (401,)),
    Fault("a purge without a token and with a large body",
          get(b"Content-Length: 1000\r\n", line=b"POST /cache/purge HTTP/1.1") + b"x" * 1000 + get(), (401, 200)),
    # Many at once.
    Fault("a hundred at once", get() * 100, (200,) * 100),
    Fault("a hundred at once, then the end", get() * 100, (200,) * 100, closed=True, half_closed=True),
)
# fmt: on
