"""Whole conversations of one client over one connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.raw_http import NoResponse, RawConnection, RawResponse

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = b"Host: test\r\n"


def request(
    target: str | bytes = "/a",
    *fields: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    body: bytes = b"",
) -> bytes:
    """One request, with a Host field unless the version is another than 1.1."""
    raw = target if isinstance(target, bytes) else target.encode("latin-1")
    host = HOST if version == "HTTP/1.1" else b""
    lines = b"".join(field.encode("latin-1") + b"\r\n" for field in fields)
    line = b"%s %s %s\r\n" % (method.encode(), raw, version.encode())
    return line + host + lines + b"\r\n" + body


def responses_until_closed(port: int, sent: bytes, timeout: float = 5.0) -> list[RawResponse]:
    """Every answer to what was sent; raises TimeoutError if the server leaves the connection."""
    with RawConnection("127.0.0.1", port, timeout=timeout) as client:
        client.send(sent)
        return rest_of(client)


def rest_of(client: RawConnection) -> list[RawResponse]:
    """The answers still to come, until the server closes."""
    answers: list[RawResponse] = []
    while True:
        try:
            answers.append(client.read_response())
        except NoResponse:
            return answers


def eventually(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Waits for a condition that nobody announces; raises AssertionError if it does not come."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)
