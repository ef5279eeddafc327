"""Where a response's head and body end (RFC 9112 §6), whatever pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.origin import message
from proxy.origin.faults import ConnectionFaultError, DisconnectedError, MalformedResponseError
from proxy.origin.message import ResponseMessage

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_3 = OK + b"Content-Length: 3\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# What comes -> status, body, may the connection be used again?
WHOLE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "a length": (LENGTH_3 + b"abc", 200, b"abc", True),
    "a length of 0": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "a length of many zeros": (
        OK + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
        200,
        b"abc",
        True,
    ),
    "a length in spaces": (OK + b"Content-Length:  3 \t\r\n\r\nabc", 200, b"abc", True),
    "chunks": (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, b"abcde", True),
    "no chunks": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "Chunked": (OK + b"transfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 200, b"a", True),
    "chunk extensions": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", 200, b"abc", True),
    "trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nETag: b\r\n\r\n", 200, b"abc", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "204 with a length": (b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b"", True),
    "304 with the length": (b"HTTP/1.1 304 N\r\nContent-Length: 30\r\n\r\n", 304, b"", True),
    "304 with a coding": (b"HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b"", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", False),
    "close among others": (
        OK + b"Connection: x, Close\r\nContent-Length: 3\r\n\r\nabc",
        200,
        b"abc",
        False,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", False),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        200,
        b"abc",
        True,
    ),
    "interim responses": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        + LENGTH_3
        + b"abc",
        200,
        b"abc",
        True,
    ),
    "an upgrade that is only offered": (
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc",
        200,
        b"abc",
        True,
    ),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", True),
    "bytes behind a 304": (b"HTTP/1.1 304 N\r\n\r\nabc", 304, b"", False),
    "a response behind a 204": (b"HTTP/1.1 204 N\r\n\r\n" + LENGTH_3, 204, b"", False),
    "bytes behind the last chunk": (CHUNKED + b"1\r\na\r\n0\r\n\r\nabc", 200, b"a", False),
    "a response behind the last chunk": (
        CHUNKED + b"1\r\na\r\n0\r\n\r\n" + LENGTH_3,
        200,
        b"a",
        False,
    ),
    "half a response behind the last chunk": (
        CHUNKED + b"1\r\na\r\n0\r\n\r\nHTTP/1.1 2",
        200,
        b"a",
        False,
    ),
}

ENDED_BY_EOF = {
    "neither length nor chunks": OK + b"\r\nabc",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nabc",
    "close": OK + b"Connection: close\r\n\r\nabc",
}

MALFORMED = {
    "longer than its length": LENGTH_3 + b"abcd",
    "followed by a response": LENGTH_3 + b"abc" + LENGTH_3 + b"abc",
    "longer than a length of 0": OK + b"Content-Length: 0\r\n\r\na",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "the same length twice": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "a length with an underscore": OK + b"Content-Length: 1_0\r\n\r\nabc",
    "a length in hexadecimal": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "no length in its field": OK + b"Content-Length: \r\n\r\nabc",
    "a length beyond all numbers": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a length before chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length behind chunks": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "not chunked last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunks of HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a chunk size beyond all numbers": CHUNKED + b"f" * 40 + b"\r\n",
    "a chunk that is longer": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "chunks between bare line feeds": CHUNKED + b"3\nabc\n0\n\n",
    "a bare line feed": OK + b"A: b\nC: d\r\n\r\n",
    "a bare carriage return": OK + b"A: b\rC: d\r\n\r\n",
    "NUL in a value": OK + b"A: b\0c\r\n\r\n",
    "a control character in a value": OK + b"A: b\x01c\r\n\r\n",
    "DEL in a value": OK + b"A: b\x7fc\r\n\r\n",
    "a folded line": OK + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": OK + b"A : b\r\n\r\n",
    "no name": OK + b": b\r\n\r\n",
    "no colon": OK + b"abc\r\n\r\n",
    "a name beyond ASCII": OK + b"\xff: b\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a banner": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty line before": b"\r\n" + LENGTH_3 + b"abc",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "switching protocols to none": b"HTTP/1.1 101 S\r\n\r\n",
    "a field too long": OK + b"A: " + b"a" * message.MAX_FIELD_BYTES + b"\r\n\r\n",
    "a name too long": OK + b"a" * message.MAX_FIELD_BYTES + b": b\r\n\r\n",
    "too many fields": OK + b"A: b\r\n" * (message.MAX_FIELDS + 1) + b"\r\n",
    "a head too long": OK + (b"A: " + b"a" * 8000 + b"\r\n") * 9 + b"\r\n",
    "a head without an end": OK + b"a" * message.MAX_HEAD_BYTES,
    "interim responses without an end": b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
    "trailers without an end": CHUNKED + b"0\r\n" + b"A: bcdefgh\r\n" * 9000,
    "a chunk extension without an end": CHUNKED + b"1;a=" + b"b" * 2 * message.MAX_HEAD_BYTES,
}

INCOMPLETE = {
    "nothing": b"",
    "half a head": OK + b"Content-Le",
    "an interim response alone": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "less than its length": LENGTH_3 + b"ab",
    "nothing of its length": LENGTH_3,
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "half a chunk": CHUNKED + b"3\r\na",
    "half a last chunk": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "half the trailers": CHUNKED + b"0\r\nA: b\r\n",
}


def fed(*pieces: bytes) -> ResponseMessage:
    made = ResponseMessage()
    for piece in pieces:
        made.feed(piece)
    return made


def body(made: ResponseMessage) -> bytes:
    taken = []
    while piece := made.body.take():
        taken.append(piece)
    return b"".join(taken)


def by_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_response(name: str) -> None:
    data, status, expected, reusable = WHOLE[name]
    made = fed(data)
    assert (made.status, made.complete, made.reusable) == (status, True, reusable)
    assert body(made) == expected


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_response_byte_for_byte(name: str) -> None:
    data, status, expected, _ = WHOLE[name]
    made = fed(*by_bytes(data))
    assert (made.status, made.complete, body(made)) == (status, True, expected)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_response_is_complete_only_with_its_last_byte(name: str) -> None:
    data, _, _, reusable = WHOLE[name]
    if reusable:
        assert not fed(data[:-1]).complete


@pytest.mark.parametrize("name", ENDED_BY_EOF)
def test_a_body_without_a_length_ends_with_the_connection(name: str) -> None:
    made = fed(ENDED_BY_EOF[name])
    assert not made.complete
    made.feed(b"def")
    made.feed_eof()
    assert (made.complete, made.reusable, body(made)) == (True, False, b"abcdef")


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_response(name: str) -> None:
    with pytest.raises(MalformedResponseError):
        fed(MALFORMED[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_response_byte_for_byte(name: str) -> None:
    if name in ("longer than its length", "followed by a response", "longer than a length of 0"):
        # What comes later than the body's last byte is nobody's: see the connection.
        return
    with pytest.raises(MalformedResponseError):
        fed(*by_bytes(MALFORMED[name]))


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_response(name: str) -> None:
    made = fed(INCOMPLETE[name])
    assert not made.complete
    with pytest.raises(DisconnectedError):
        made.feed_eof()


def test_fields_are_as_they_came_with_lower_case_names() -> None:
    made = fed(OK + b'ETag:  "A b" \t\r\nX-Amz-Meta-\xc3:\r\n\r\n'.replace(b"\xc3", b"a") + b"x")
    assert made.fields == [(b"etag", b'"A b"'), (b"x-amz-meta-a", b"")]


def test_bytes_beyond_ascii_in_values_stay() -> None:
    assert fed(OK + b"A: \xc3\xbc\xff\r\n\r\n").fields == [(b"a", b"\xc3\xbc\xff")]


def test_trailers_are_no_fields() -> None:
    made = fed(CHUNKED + b"0\r\nETag: b\r\n\r\n")
    assert made.fields == [(b"transfer-encoding", b"chunked")]


def test_fields_of_interim_responses_are_forgotten() -> None:
    made = fed(b"HTTP/1.1 103 E\r\nETag: a\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")
    assert made.fields == [(b"content-length", b"0")]


def test_a_body_of_known_length_is_handed_on_in_the_pieces_that_came() -> None:
    large = bytes(100_000)
    made = fed(OK + b"Content-Length: 200000\r\n\r\n", large, large)
    assert made.body.take() is large
    assert made.body.size == 100_000


def test_small_pieces_are_joined() -> None:
    made = fed(OK + b"Content-Length: 1000\r\n\r\n", *[b"a"] * 1000)
    assert (made.body.take(), made.body.take()) == (b"a" * 1000, b"")


def test_small_chunks_that_came_at_once_are_one_piece() -> None:
    made = fed(CHUNKED, b"1\r\na\r\n" * 100_000)
    assert made.body.take() == b"a" * 100_000


def test_a_long_body_in_chunks_is_not_taken_for_an_endless_head() -> None:
    made = fed(CHUNKED)
    for _ in range(50_000):
        made.feed(b"1;a=b\r\n")
        made.feed(b"a\r\n")
        made.body.take()
    made.feed(b"0\r\n\r\n")
    assert made.complete


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_pieces_make_no_difference(name: str, data: st.DataObject) -> None:
    whole, status, expected, _ = WHOLE[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    made = fed(*filter(None, pieces))
    assert (made.status, made.complete, body(made)) == (status, True, expected)


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", OK, LENGTH_3, CHUNKED]))
def test_nonsense_raises_nothing_else(pieces: list[bytes], before: bytes) -> None:
    made = ResponseMessage()
    try:
        for piece in filter(None, [before, *pieces]):
            made.feed(piece)
        made.feed_eof()
    except ConnectionFaultError:
        return
    assert made.complete
