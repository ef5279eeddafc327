"""Feeds bytes to a protocol class over a transport without a network."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from proxy.server.protocol import HttpProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff]*)")
_VOLATILE = {b"date", b"x-request-id"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Conversation:
    """What became of one connection; ``asked`` are the methods that the application saw."""

    answers: tuple[Answer, ...]
    asked: tuple[str, ...]
    closed: bool


class MalformedError(AssertionError):
    """What the protocol wrote is no sequence of HTTP answers."""


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False
        self.closed = False

    def write(self, data: Any) -> None:
        if self.ended:
            raise MalformedError("written after the end")
        self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """What is fed is fed."""

    def resume_reading(self) -> None:
        """What is fed is fed."""

    def get_write_buffer_size(self) -> int:
        return 0


class Wire:
    """Connections to one server state; the application answers everything, if it is ours."""

    def __init__(
        self, protocol: type[HttpProtocol] = HttpProtocol, application: Any = None
    ) -> None:
        # How many requests the application was given, over all connections.
        self.passed_on = 0
        self._asked: list[str] = []
        self._failures: list[dict[str, Any]] = []
        self._protocol = protocol
        self._answer = application or _echo
        self._config = Config(
            self._application,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            ws="none",
        )
        self._config.load()
        self._state = ServerState()

    async def converse(
        self, pieces: Iterable[bytes], methods: Sequence[str] | None = None, *, slowly: bool = False
    ) -> Conversation:
        """What becomes of a connection that these pieces are sent over.

        ``methods`` are those of the requests, where not all of them are the application's to
        answer. ``slowly``: the client takes nothing of what it is sent before the next piece.
        Raises MalformedError; what the protocol raises, or logs as an exception, too.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._failures.append(context))
        self._asked, self._failures = [], []
        protocol = self._protocol(self._config, self._state, {}, _loop=loop)
        transport = _Transport()
        protocol.connection_made(transport)
        for piece in pieces:
            if transport.closed:
                break
            if slowly:
                protocol.pause_writing()
            protocol.data_received(piece)
            if slowly:
                await asyncio.sleep(0)
                protocol.resume_writing()
            await self._settle()
        closed = transport.closed or transport.ended
        if not transport.closed:
            protocol.eof_received()
            await self._settle()
        protocol.connection_lost(None)
        await self._settle()
        if self._failures:
            raise MalformedError(str(self._failures))
        asked = self._asked if methods is None else list(methods)
        return Conversation(answers_of(bytes(transport.written), asked), tuple(asked), closed)

    async def _settle(self) -> None:
        # One round for what is scheduled by callbacks alone.
        for _ in range(1000):
            await asyncio.sleep(0)
            if not self._state.tasks:
                await asyncio.sleep(0)
                if not self._state.tasks:
                    return
        raise MalformedError("still running")

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self._asked.append(scope["method"])
        self.passed_on += 1
        await self._answer(scope, receive, send)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    body = b"%b %b" % (scope["method"].encode(), scope["raw_path"])
    fields = [(b"content-length", b"%d" % len(body))] if len(body) % 2 else []
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def answers_of(written: bytes, asked: list[str]) -> tuple[Answer, ...]:
    """The answers to requests of these methods, and one more for what is no request.

    Raises MalformedError for what is not exactly that: RFC 9112 §4, §5, §6.
    """
    answers: list[Answer] = []
    rest = written
    while rest:
        head, end, rest = rest.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        matched = _STATUS_LINE.fullmatch(line)
        fields = [_FIELD.fullmatch(each) for each in lines]
        if not end or matched is None or not all(fields):
            raise MalformedError(f"no head: {head!r}")
        if len(answers) > len(asked):
            raise MalformedError(f"more than one answer too many: {head!r}")
        pairs = tuple((field[1].lower(), field[2]) for field in fields if field is not None)
        body, rest = _body(
            rest,
            pairs,
            int(matched[1]),
            asked[len(answers)] if len(answers) < len(asked) else "GET",
        )
        kept = tuple(pair for pair in pairs if pair[0] not in _VOLATILE)
        answers.append(Answer(int(matched[1]), kept, body))
    if len(answers) == len(asked) + 1:
        last = answers[-1]
        if last.status < 400 or (b"connection", b"close") not in last.fields:
            raise MalformedError(f"two answers for one request: {last}")
    return tuple(answers)


def _body(
    rest: bytes, fields: tuple[tuple[bytes, bytes], ...], status: int, method: str
) -> tuple[bytes, bytes]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise MalformedError(f"framed twice: {fields}")
    if method == "HEAD" or status in (204, 304):
        return b"", rest
    if lengths:
        length = int(lengths[0])
        if len(rest) < length:
            raise MalformedError(f"{len(rest)} bytes of {length}")
        return rest[:length], rest[length:]
    if not codings:
        # RFC 9112 §6.3: it ends where the connection does.
        return rest, b""
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end or not re.fullmatch(rb"[0-9a-f]+", size):
            raise MalformedError(f"no chunk: {size!r}")
        chunk, end, rest = (
            rest[: int(size, 16)],
            rest[int(size, 16) :][:2],
            rest[int(size, 16) + 2 :],
        )
        if end != b"\r\n":
            raise MalformedError(f"a chunk ends in {end!r}")
        if not chunk:
            return body, rest
        body += chunk


def difference(one: Conversation, other: Conversation) -> str | None:
    """How two conversations differ that should not, as their bytes were the same."""
    if 431 in {answer.status for each in (one, other) for answer in each.answers}:
        # Where a head is too large and malformed, either may be seen first.
        return None
    if _without_501(one) == _without_501(other):
        return None
    return f"{one}\n{other}"


def _without_501(said: Conversation) -> Conversation:
    """The same, with 400 where a method is not known.

    Which of the two it is depends on how much of the request line came at once.
    """
    answers = tuple(
        replace(answer, status=400, fields=(), body=b"") if answer.status in (400, 501) else answer
        for answer in said.answers
    )
    return replace(said, answers=answers)
