"""Answers as bytes of HTTP/1.1."""

from __future__ import annotations

import http
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from proxy.core.messages import Fields, Head

# Up to here copying head and body into one buffer costs less than handing over two.
JOINED_BYTES = 16 * 1024
# RFC 9110 §8.6: these have no content whose length there is to tell.
_WITHOUT_LENGTH = frozenset({204, 304})
_KNOWN_STATUSES = frozenset(http.HTTPStatus)
# RFC 9110 §5.6.2: all that a field's name is made of; §5.5: what no value has.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROLS = bytes({*range(32), 127} - {9})


@lru_cache
def status_line(status: int) -> bytes:
    """The first line of an answer, its end included."""
    phrase = http.HTTPStatus(status).phrase if status in _KNOWN_STATUSES else ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode("ascii"))


def field_lines(fields: Fields) -> bytes:
    """Header fields, a line each."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def checked_head(status: int, fields: Mapping[bytes, bytes]) -> bytes | None:
    """Everything before a body, of fields that anybody may have made; None where one is unsound."""
    lines = b"\r\n".join(map(b": ".join, fields.items()))
    # Of controls there may be the ends of lines between the fields.
    controls = len(lines) - len(lines.translate(None, _CONTROLS))
    if controls != 2 * len(fields) - 2 or b"".join(fields).translate(None, _TOKEN):
        return None
    return b"".join((status_line(status), lines, b"\r\n\r\n"))


def date_line(now: float | None = None) -> bytes:
    """A Date of ``now``, in seconds since the epoch (RFC 9110 §6.6.1)."""
    return b"date: %b\r\n" % formatdate(now, usegmt=True).encode("ascii")


def whole_head(
    head: Head, method: str, body: bytes, request_id: bytes, *, keep_alive: bool
) -> bytes:
    """Everything before the body of an answer that is at hand whole; it is empty for HEAD."""
    names = {name for name, _ in head.fields}
    lines = [_beginning(head, request_id)]
    # Nothing to send for a HEAD says nothing of what a GET would be sent.
    if (
        b"content-length" not in names
        and head.status not in _WITHOUT_LENGTH
        and (body or method != "HEAD")
    ):
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(_end(names, keep_alive=keep_alive))
    return b"".join(lines)


def streamed_head(head: Head, request_id: bytes, *, keep_alive: bool) -> tuple[bytes, int | None]:
    """Everything before the body of an answer to a GET, and the body's length.

    Where there is no length the body is to be sent in chunks (RFC 9112 §7.1).
    """
    names = {name for name, _ in head.fields}
    length = next((int(value) for name, value in head.fields if name == b"content-length"), None)
    ending = _end(names, keep_alive=keep_alive, chunked=length is None)
    return _beginning(head, request_id) + ending, length


def _beginning(head: Head, request_id: bytes) -> bytes:
    return b"%bx-request-id: %b\r\n" % (
        status_line(head.status) + field_lines(head.fields),
        request_id,
    )


def _end(names: set[bytes], *, keep_alive: bool, chunked: bool = False) -> bytes:
    date = b"" if b"date" in names else date_line()
    return b"%b%b%b\r\n" % (
        date,
        b"" if keep_alive else b"connection: close\r\n",
        b"transfer-encoding: chunked\r\n" if chunked else b"",
    )


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """One chunk (RFC 9112 §7.1), of at least one byte."""
    return b"%x\r\n" % len(data), data, b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def write(transport: asyncio.Transport, head: bytes, body: bytes | memoryview) -> None:
    """Write what belongs together, copying as little as is worth it."""
    if len(body) <= JOINED_BYTES:
        transport.write(b"".join((head, body)))
    else:
        transport.writelines((head, body))
