"""Checks the client that other tests trust with exact bytes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.raw_http import NoResponse, RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[RawConnection, socket.socket]]:
    """A connection and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        with RawConnection("127.0.0.1", listener.getsockname()[1]) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                yield client, server


Pair = tuple[RawConnection, socket.socket]


def test_pipelined_responses_of_every_framing_are_told_apart(pair: Pair) -> None:
    client, server = pair
    server.sendall(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ncde\r\n0\r\nT: v\r\n\r\n"
        b"HTTP/1.1 200\r\n\r\nrest"
    )
    server.close()
    responses = [client.read_response() for _ in range(5)]
    assert [response.status for response in responses] == [100, 200, 304, 200, 200]
    assert [response.body for response in responses] == [b"", b"ab", b"", b"cde", b"rest"]
    assert all(response.complete for response in responses)
    assert responses[3].trailers == ((b"T", b"v"),)


def test_a_response_to_head_has_no_body(pair: Pair) -> None:
    client, server = pair
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert client.read_response("HEAD").header("content-length") == b"9"
    assert client.read_response().status == 204


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 3\r\n\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ],
)
def test_a_body_that_breaks_off_is_incomplete(pair: Pair, framed: bytes) -> None:
    client, server = pair
    server.sendall(b"HTTP/1.1 200 OK\r\n" + framed)
    server.close()
    response = client.read_response()
    assert (response.body, response.complete) == (b"ab", False)


def test_header_fields_keep_their_bytes_and_order(pair: Pair) -> None:
    client, server = pair
    server.sendall(b"HTTP/1.1 204 X\r\nb: 1\r\nA:\t\xfc \r\nB: 2\r\n\r\n")
    response = client.read_response()
    assert response.headers == ((b"b", b"1"), (b"A", b"\xfc"), (b"B", b"2"))
    assert response.values(b"B") == [b"1", b"2"]
    with pytest.raises(ValueError, match="occurs 2 times"):
        response.header(b"B")


def test_a_connection_that_ends_within_the_head_gives_no_response(pair: Pair) -> None:
    client, server = pair
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-")
    server.close()
    with pytest.raises(NoResponse):
        client.read_response()


def test_reading_is_bounded_in_time(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(TimeoutError):
        client.read_response(timeout=0.05)


def test_the_end_of_the_connection_is_told_from_silence_or_data(pair: Pair) -> None:
    client, server = pair
    assert not client.read_eof(timeout=0.05)
    server.sendall(b"x")
    assert not client.read_eof()
    assert client.read_exactly(1) == b"x"
    server.close()
    assert client.read_eof()


def test_a_target_goes_out_as_it_is(pair: Pair) -> None:
    client, server = pair
    client.get("/a/../%2e%2e//b?c", "X-A: 1")
    assert server.recv(200) == b"GET /a/../%2e%2e//b?c HTTP/1.1\r\nHost: test\r\nX-A: 1\r\n\r\n"


def test_half_closing_leaves_the_other_direction_open(pair: Pair) -> None:
    client, server = pair
    client.half_close()
    assert server.recv(1) == b""
    server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.read_response().status == 204


def test_a_reset_reaches_the_server(pair: Pair) -> None:
    client, server = pair
    client.reset()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
