"""Speaks HTTP/1.1 over a plain socket, so that tests choose and see every byte."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECEIVE = 65536
_MAX_HEAD = 256 * 1024
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class NoResponse(ConnectionError):  # noqa: N818 - says what happened, not that it is wrong
    """The server closed or reset the connection before a whole response head."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    version: bytes
    status: int
    reason: bytes
    headers: Headers
    body: bytes
    # False if the connection ended before the framing said so.
    complete: bool
    trailers: Headers = ()

    def values(self, name: bytes | str) -> list[bytes]:
        """Every value of a field, in order; names compare without case."""
        wanted = (name.encode() if isinstance(name, str) else name).lower()
        return [value for field, value in self.headers if field.lower() == wanted]

    def header(self, name: bytes | str) -> bytes | None:
        """The value of a field that may occur once; raises ValueError if it is repeated."""
        values = self.values(name)
        if len(values) > 1:
            raise ValueError(f"{name!r} occurs {len(values)} times: {values}")
        return values[0] if values else None


class RawConnection:
    """One client connection; every operation ends within `timeout` seconds or raises TimeoutError.

    `receive_buffer` in bytes makes a slow reader that the server notices soon.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float = 5.0,
        receive_buffer: int | None = None,
    ) -> None:
        self.timeout = timeout
        self._buffer = bytearray()
        self._ended = False
        self.was_reset = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                # Before connect, for the window is agreed on there.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(timeout)
            self.sock.connect((host, port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def get(self, target: str | bytes, *headers: str, method: str = "GET") -> None:
        """Sends a request whose target goes out exactly as given; headers as `"Name: value"`."""
        raw = target.encode("latin-1") if isinstance(target, str) else target
        lines = [b"%s %s HTTP/1.1" % (method.encode(), raw), b"Host: test"]
        lines += [header.encode("latin-1") for header in headers]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    def read_response(self, method: str = "GET", timeout: float | None = None) -> RawResponse:
        """The next response on the connection, an interim (1xx) one too.

        Raises NoResponse if the connection ends before or within the head, TimeoutError if the
        whole of it takes too long, ValueError if it is not HTTP.
        """
        deadline = self._deadline(timeout)
        head = self._read_head(deadline)
        status_line, *lines = head.split(b"\r\n")
        version, _, rest = status_line.partition(b" ")
        code, _, reason = rest.partition(b" ")
        if not version.startswith(b"HTTP/1.") or len(code) != 3:
            raise ValueError(f"not a status line: {status_line!r}")
        parsed = RawResponse(version, int(code), reason, _fields(lines), b"", complete=True)
        body, complete, trailers = self._read_body(parsed, method, deadline)
        return RawResponse(version, parsed.status, reason, parsed.headers, body, complete, trailers)

    def read_head(self, timeout: float | None = None) -> bytes:
        """The next response's head alone, without the empty line; the body stays unread."""
        return self._read_head(self._deadline(timeout))

    def read_exactly(self, count: int, timeout: float | None = None) -> bytes:
        """`count` bytes; fewer only if the connection ended."""
        return self._read_counted(count, self._deadline(timeout))

    def read_eof(self, timeout: float | None = None) -> bool:
        """Whether the server ends the connection in time without another byte."""
        if self._buffer:
            return False
        try:
            return not self._fill(self._deadline(timeout))
        except TimeoutError:
            return False

    def half_close(self) -> None:
        """Ends our direction only."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _fill(self, deadline: float) -> bool:
        """Reads what is there, waiting for something; False at the end of the connection."""
        if self._ended:
            return False
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"unread so far: {bytes(self._buffer[:200])!r}")
        self.sock.settimeout(remaining)
        try:
            data = self.sock.recv(_RECEIVE)
        except ConnectionError:
            data = b""
            self.was_reset = True
        self._ended = not data
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _read_until(self, delimiter: bytes, deadline: float) -> bytes | None:
        """What comes before `delimiter`, which is dropped; None if the connection ends first."""
        start = 0
        while (at := self._buffer.find(delimiter, start)) < 0:
            start = max(0, len(self._buffer) - len(delimiter) + 1)
            if len(self._buffer) > _MAX_HEAD:
                raise ValueError(f"no {delimiter!r} within {_MAX_HEAD} bytes")
            if not self._fill(deadline):
                return None
        taken = self._take(at)
        self._take(len(delimiter))
        return taken

    def _read_counted(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) < count and self._fill(deadline):
            pass
        return self._take(min(count, len(self._buffer)))

    def _read_head(self, deadline: float) -> bytes:
        head = self._read_until(b"\r\n\r\n", deadline)
        if head is None:
            raise NoResponse(f"connection ended after {bytes(self._buffer)!r}")
        return head

    def _read_body(
        self, head: RawResponse, method: str, deadline: float
    ) -> tuple[bytes, bool, Headers]:
        """(body, complete, trailers) by the rules of RFC 9112 §6.3."""
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return b"", True, ()
        coding = head.header(b"Transfer-Encoding")
        if coding is not None and coding.lower() == b"chunked":
            return self._read_chunks(deadline)
        length = head.header(b"Content-Length")
        if length is not None:
            body = self._read_counted(int(length), deadline)
            return body, len(body) == int(length), ()
        while self._fill(deadline):
            pass
        return self._take(len(self._buffer)), not self.was_reset, ()

    def _read_chunks(self, deadline: float) -> tuple[bytes, bool, Headers]:
        body = bytearray()
        while (line := self._read_until(b"\r\n", deadline)) is not None:
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                return bytes(body), *self._read_trailers(deadline)
            piece = self._read_counted(size + 2, deadline)
            body += piece[:size]
            if len(piece) < size + 2:
                break
            if piece[size:] != b"\r\n":
                raise ValueError(f"a chunk ends with {piece[size:]!r}")
        return bytes(body), False, ()

    def _read_trailers(self, deadline: float) -> tuple[bool, Headers]:
        lines: list[bytes] = []
        while line := self._read_until(b"\r\n", deadline):
            lines.append(line)
        return line is not None, _fields(lines)


def _fields(lines: list[bytes]) -> Headers:
    pairs = (line.partition(b":") for line in lines)
    return tuple((name, value.strip(b" \t")) for name, _, value in pairs)


class OpenRaw(Protocol):
    def __call__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        timeout: float = 5.0,
        receive_buffer: int | None = None,
    ) -> RawConnection: ...


@pytest.fixture
def raw() -> Iterator[OpenRaw]:
    """Opens connections that are closed after the test."""
    opened: list[RawConnection] = []

    def open_raw(
        port: int,
        host: str = "127.0.0.1",
        *,
        timeout: float = 5.0,
        receive_buffer: int | None = None,
    ) -> RawConnection:
        opened.append(RawConnection(host, port, timeout=timeout, receive_buffer=receive_buffer))
        return opened[-1]

    yield open_raw
    for connection in opened:
        connection.close()
