"""A small HTTP client for what wrk cannot do: look at answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_CHUNK = 1 << 20
_FILLING_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer; names in lower case."""

    status: int
    fields: Mapping[str, str]

    @property
    def length(self) -> int:
        """Bytes of body that follow on a GET."""
        return 0 if self.status in (204, 304) else int(self.fields["content-length"])


def request(target: str, fields: Mapping[str, str], method: str = "GET") -> bytes:
    """A request's head on the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse_head(head: bytes) -> Head:
    """A head without the empty line that ends it; raises BenchError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise BenchError(f"not an answer: {first[:80]!r}")
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return Head(int(words[1]), {name.lower(): value.strip() for name, value in pairs})


class Connection:
    """A connection that asks for one thing after the other."""

    def __init__(self, port: int, *, timeout: float = 30.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, target: str, fields: Mapping[str, str]) -> tuple[Head, bytes]:
        """An answer with its body; raises BenchError where it breaks off."""
        return self._exchange(request(target, fields))

    def post(self, target: str, fields: Mapping[str, str], body: bytes) -> tuple[Head, bytes]:
        """The answer to a request with a body; raises BenchError where it breaks off."""
        length = {"Content-Length": str(len(body))}
        return self._exchange(request(target, {**fields, **length}, "POST") + body)

    def _exchange(self, wire: bytes) -> tuple[Head, bytes]:
        self._socket.sendall(wire)
        head, start = self._finish_head(b"")
        body = bytearray(start)
        for chunk in self._rest(head.length - len(start)):
            body += chunk
        return head, bytes(body)

    def time_to_first_byte(self, target: str, fields: Mapping[str, str]) -> float:
        """Seconds from sending a request; the whole answer is read."""
        wire = request(target, fields)
        started = time.perf_counter()
        self._socket.sendall(wire)
        start = self._socket.recv(65536)
        seconds = time.perf_counter() - started
        head, body = self._finish_head(start)
        if head.status != 200:
            raise BenchError(f"{target}: {head.status}, not 200")
        for _ in self._rest(head.length - len(body)):
            pass
        return seconds

    def read_through(
        self, target: str, *, chunk: int = _CHUNK, pause: float = 0.0, until: float | None = None
    ) -> int:
        """Bytes of body that came, at most ``chunk`` at a time and then a pause (seconds).

        Stops early where the monotonic clock passes ``until``.
        """
        self._socket.sendall(request(target, {}))
        head, start = self._finish_head(b"")
        if head.status != 200:
            raise BenchError(f"{target}: {head.status}, not 200")
        received = len(start)
        for part in self._rest(head.length - received, chunk):
            received += len(part)
            if until is not None and time.monotonic() >= until:
                break
            if pause:
                time.sleep(pause)
        return received

    def _finish_head(self, received: bytes) -> tuple[Head, bytes]:
        while b"\r\n\r\n" not in received:
            more = self._socket.recv(65536)
            if not more:
                raise BenchError("closed in the middle of a head")
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        return parse_head(head), body

    def _rest(self, length: int, chunk: int = _CHUNK) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(chunk, max(1, length))))
        while length > 0:
            count = self._socket.recv_into(buffer[: min(len(buffer), length)])
            if not count:
                raise BenchError(f"closed {length} bytes before the end of a body")
            length -= count
            yield buffer[:count]


def fetch_all(port: int, targets: Iterable[str], fields: Mapping[str, str]) -> int:
    """Ask for everything once, several at a time; the number of bytes of body that came.

    Raises BenchError for anything but a whole 200.
    """
    return asyncio.run(_fetch_all(port, iter(targets), fields))


async def _fetch_all(port: int, targets: Iterator[str], fields: Mapping[str, str]) -> int:
    async def fetch() -> int:
        received = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)
        with contextlib.closing(writer):
            for target in targets:
                writer.write(request(target, fields))
                head = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                if head.status != 200:
                    raise BenchError(f"{target}: {head.status}, not 200")
                received += len(await reader.readexactly(head.length))
        return received

    try:
        return sum(await asyncio.gather(*(fetch() for _ in range(_FILLING_CONNECTIONS))))
    except (OSError, asyncio.IncompleteReadError) as exc:
        raise BenchError(f"a connection broke while the cache was filled: {exc!r}") from exc


async def crowd(port: int, target: str, size: int, expected: bytes) -> Sequence[str]:
    """Ask for one thing at the same time on ``size`` connections.

    What each found wrong: nothing, where its answer is a 200 with the ``expected`` body.
    """
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", port, limit=_CHUNK) for _ in range(size))
    )
    wire = request(target, {})

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        with contextlib.closing(writer):
            try:
                head = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                if head.status != 200:
                    return f"status {head.status}"
                at = 0
                while at < head.length:
                    chunk = await reader.read(65536)
                    if not chunk:
                        return f"closed after {at} bytes"
                    if expected[at : at + len(chunk)] != chunk:
                        return f"other bytes at {at}"
                    at += len(chunk)
            except (OSError, asyncio.IncompleteReadError, BenchError) as exc:
                return repr(exc)
            return "" if at == len(expected) else f"{at} bytes"

    # One after the other without waiting: all are on their way before the first answer is read.
    for _, writer in opened:
        writer.write(wire)
    return await asyncio.gather(*(ask(reader, writer) for reader, writer in opened))
