"""Lists what a scripted origin can do with a request.

A step's `play` runs in the origin's event loop. It writes through the `Exchange`, returns
to let the next step of the script go on, or raises `Hangup` to end the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias
from xml.sax.saxutils import escape

from tests.origins.exchange import Exchange, Hangup, RecordedRequest, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.origins.gate import Gate

HeaderValues: TypeAlias = Mapping[str, str] | tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hold:
    gate: Gate

    async def play(self, exchange: Exchange) -> None:
        await self.gate.passage()


def hold(gate: Gate) -> Hold:
    """Waits at the gate, then lets the script's next step answer."""
    return Hold(gate)


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float

    async def play(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)


def pause(seconds: float) -> Pause:
    """Says nothing for a while, then goes on with the script's next step."""
    return Pause(seconds)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; see `respond`, `drip` and `cut_after` for the fields."""

    status: int = 200
    body: bytes = b""
    headers: HeaderValues = field(default_factory=dict)
    content_length: int | Literal["missing"] | None = None
    chunked: bool = False
    piece: int | None = None
    gate: Gate | None = None
    interval: float = 0.0
    cut_after: int | None = None
    reset: bool = False

    async def play(self, exchange: Exchange) -> None:
        bodyless = exchange.request.method == "HEAD" or self.status in (204, 304)
        await exchange.send(self._head(last=not exchange.keep_alive))
        if bodyless:
            return
        left = len(self.body) if self.cut_after is None else self.cut_after
        if left > 0:
            async for piece in self._pieces():
                await exchange.send(self._framed(piece, piece[:left]))
                left -= len(piece)
                if left <= 0:
                    break
        if self.cut_after is not None:
            raise Hangup(reset=self.reset)
        if self.chunked:
            await exchange.send(b"0\r\n\r\n")
        elif self.content_length not in (None, len(self.body)):
            # The framing no longer says where the next response begins.
            exchange.keep_alive = False

    def _head(self, *, last: bool) -> bytes:
        pairs = list(self.headers.items() if isinstance(self.headers, Mapping) else self.headers)
        if self.chunked:
            pairs.append(("Transfer-Encoding", "chunked"))
        elif self.content_length is None:
            if self.status not in (204, 304):
                pairs.append(("Content-Length", str(len(self.body))))
        elif self.content_length != "missing":
            pairs.append(("Content-Length", str(self.content_length)))
        if last or self.content_length == "missing":
            pairs.append(("Connection", "close"))
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Unassigned"
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in pairs)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def _pieces(self) -> AsyncIterator[bytes]:
        size = self.piece or max(1, len(self.body))
        for start in range(0, len(self.body), size):
            if self.gate is not None:
                await self.gate.passage()
            elif self.interval and start:
                await asyncio.sleep(self.interval)
            yield self.body[start : start + size]

    def _framed(self, piece: bytes, sent: bytes) -> bytes:
        """`sent`, the part of `piece` before the cut; a chunk still announces the whole."""
        if not self.chunked:
            return sent
        return b"%x\r\n" % len(piece) + sent + (b"\r\n" if len(sent) == len(piece) else b"")


def respond(
    status: int = 200,
    body: bytes | str = b"",
    headers: HeaderValues | None = None,
    *,
    content_length: int | Literal["missing"] | None = None,
    chunked: bool = False,
) -> Answer:
    """Answers at once, with Content-Length and the given headers only.

    `content_length` may lie (the connection ends after the body then) or be "missing" (the
    body ends with the connection).
    """
    raw = body.encode() if isinstance(body, str) else body
    return Answer(status, raw, headers or {}, content_length, chunked)


def drip(
    body: bytes,
    piece: int = 1,
    *,
    gate: Gate | None = None,
    interval: float = 0.0,
    status: int = 200,
    headers: HeaderValues | None = None,
    content_length: int | Literal["missing"] | None = None,
    chunked: bool = False,
) -> Answer:
    """Sends the head at once and the body in pieces of `piece` bytes.

    With a gate every piece needs one `gate.admit()`; else `interval` seconds lie between two.
    """
    answer = respond(status, body, headers, content_length=content_length, chunked=chunked)
    return replace(answer, piece=piece, gate=gate, interval=interval)


def cut_after(count: int, answer: Answer, *, reset: bool = False) -> Answer:
    """Ends the connection after `count` bytes of the answer's body; with `reset`, by RST."""
    return replace(answer, cut_after=count, reset=reset)


@dataclass(frozen=True, slots=True)
class Raw:
    data: bytes
    then: Literal["keep", "close", "reset", "silence"]

    async def play(self, exchange: Exchange) -> None:
        if self.data:
            await exchange.send(self.data)
        if self.then == "silence":
            # Until the client leaves: the connection cancels its script then.
            await asyncio.get_running_loop().create_future()
        if self.then != "keep":
            raise Hangup(reset=self.then == "reset")


def raw_bytes(data: bytes, then: Literal["keep", "close", "reset", "silence"] = "close") -> Raw:
    """Sends exactly `data`, HTTP or not."""
    return Raw(data, then)


def black_hole() -> Raw:
    """Says nothing until the client leaves."""
    return Raw(b"", "silence")


def half_head() -> Raw:
    """Begins a response head and then says nothing more until the client leaves."""
    return Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Le", "silence")


def close_before_reply(*, reset: bool = False) -> Raw:
    """Ends the connection instead of answering."""
    return Raw(b"", "reset" if reset else "close")


def s3_error(
    status: int, code: str, message: str = "", headers: HeaderValues | None = None
) -> Answer:
    """Answers as S3 reports errors, with XML."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message or code)}</Message>"
        "<RequestId>0123456789ABCDEF</RequestId></Error>"
    )
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers or ())
    return respond(status, body, (("Content-Type", "application/xml"), *pairs))


def redirect(location: str, status: int = 307, code: str = "TemporaryRedirect") -> Answer:
    """Sends the client elsewhere, as S3 does for a bucket of another region."""
    return s3_error(status, code, headers={"Location": location})


@dataclass(frozen=True, slots=True)
class PerRequest:
    choose: Callable[[RecordedRequest], Step]

    async def play(self, exchange: Exchange) -> None:
        await self.choose(exchange.request).play(exchange)


def per_request(choose: Callable[[RecordedRequest], Step]) -> PerRequest:
    """Lets a function of the request choose the step."""
    return PerRequest(choose)


@dataclass(slots=True)
class Sequence:
    scripts: list[tuple[Step, ...]]
    turn: int = 0

    async def play(self, exchange: Exchange) -> None:
        script = self.scripts[min(self.turn, len(self.scripts) - 1)]
        self.turn += 1
        for step in script:
            await step.play(exchange)


def sequence(*scripts: Step | tuple[Step, ...]) -> Sequence:
    """The first request gets the first script, the next the second; the last one repeats.

    A script is a step or a tuple of steps.
    """
    return Sequence([script if isinstance(script, tuple) else (script,) for script in scripts])
