"""Clients that ask for objects in every way, over connections they keep for a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.soak.exchange import Asked, Exchange

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soak.objects import Bucket

    class Target(Protocol):
        """The server that a client asks, and what was seen of it since it began."""

        number: int
        seen: Seen

        @property
        def port(self) -> int: ...


ANSWER_SECONDS = 20.0
_JUST_SECONDS = 0.2
_LIMIT = 512 * 1024
_PIECE_BYTES = 256 * 1024


class Connection:
    """One connection to the proxy."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: int
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]
        self.used = False
        self.usable = True
        self.busy = False
        # When the last answer had come, and its body's bytes.
        self.answered = (float("-inf"), 0)

    @classmethod
    async def open(cls, port: int, server: int = 0) -> Connection:
        """A connection to the server of that number; raises OSError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
        return cls(reader, writer, server)

    def close(self) -> None:
        self.usable = False
        self._writer.transport.abort()

    async def exchange(self, asked: Asked, request: bytes, give_up_after: int | None) -> Exchange:
        """Ask, and read the answer; `give_up_after` body bytes the connection is closed."""
        begin = time.monotonic()
        reused, self.used = self.used, True
        self.busy = True
        answer = _Answer()
        problem, timed_out = "", False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._writer.transport.is_closing():
                    # It broke while it was idle; uvloop would raise RuntimeError.
                    raise ConnectionResetError("closed before the request")
                self._writer.write(request)
                await self._read(asked.method, answer, give_up_after)
        except TimeoutError:
            timed_out = True
            self.close()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            problem = repr(error)
            self.close()
        self.busy = False
        self.answered = (time.monotonic(), len(answer.body))
        return Exchange(
            asked, begin, time.monotonic(), answer.status, answer.fields, bytes(answer.body),
            answer.complete, answer.given_up, timed_out, self._server, self.port, reused, problem,
        )  # fmt: skip

    async def _read(self, method: str, answer: _Answer, give_up_after: int | None) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        for line in lines:
            name, _, value = line.partition(":")
            answer.fields[name.lower()] = value.strip()
        answer.status = int(status_line.split(" ")[1])
        answer.complete = False
        if answer.fields.get("connection", "").lower() == "close":
            self.usable = False
        if method != "HEAD" and answer.status not in (204, 304):
            length = int(answer.fields.get("content-length", -1))
            while len(answer.body) != length:
                piece = await self._reader.read(
                    _PIECE_BYTES if length < 0 else min(_PIECE_BYTES, length - len(answer.body))
                )
                if not piece:
                    self.close()
                    return
                answer.body += piece
                if give_up_after is not None and len(answer.body) > give_up_after:
                    answer.given_up = len(answer.body) < length
                    if answer.given_up:
                        self.close()
                        return
        answer.complete = True
        if not self.usable:
            self.close()


@dataclass(slots=True)
class _Answer:
    status: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = True
    given_up: bool = False


@dataclass(slots=True)
class Seen:
    """What clients received of one server, to compare with its metrics."""

    cache: Counter[str] = field(default_factory=Counter)
    body_bytes: int = 0
    # Requests and bytes of which the server may have counted something else than arrived.
    uncertain: int = 0
    uncertain_bytes: int = 0

    def add(self, exchange: Exchange) -> None:
        if exchange.cache:
            self.cache[exchange.cache] += 1
        self.body_bytes += len(exchange.body)
        if exchange.status is None:
            self.uncertain += 1
        if exchange.status is None or not exchange.complete:
            length = int(exchange.fields.get("content-length", 0))
            self.uncertain_bytes += length - len(exchange.body)


class Clients:
    """A number of clients that ask `rate` times a second together, from `resume` to `stop`.

    A reused connection may have been closed while its request was under way, which every client
    of HTTP must expect (RFC 9112 §9.3.1): if there was a reason, the request is repeated once.
    """

    def __init__(
        self,
        bucket: Bucket,
        rng: random.Random,
        *,
        count: int,
        rate: float,
        target: Callable[[int], Target],
        take: Callable[[Exchange], None],
        may_be_closed: Callable[[Exchange], bool],
    ) -> None:
        self.reopened = 0
        self.in_flight = 0
        self._bucket = bucket
        self._rng = rng
        self._pause = count / rate
        self._target = target
        self._take = take
        self._may_be_closed = may_be_closed
        self._going = asyncio.Event()
        self._connections: dict[int, Connection] = {}
        self._tasks = [asyncio.create_task(self._run(index)) for index in range(count)]

    def asking_through(self, ports: frozenset[int]) -> int:
        """How many requests are under way on these ports of ours."""
        return sum(each.busy and each.port in ports for each in self._connections.values())

    def bytes_just_had(self, ports: frozenset[int]) -> int:
        """The body bytes of answers that have just come on these ports of ours.

        A server counts them once it has sent them, which it may not have come to yet.
        """
        since = time.monotonic() - _JUST_SECONDS
        answers = (each.answered for each in self._connections.values() if each.port in ports)
        return sum(size for at, size in answers if at >= since)

    async def stop(self) -> None:
        """Wait for all answers, and end."""
        await self.pause()
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def pause(self) -> None:
        """Ask nothing from now on; returns when all is answered and every connection closed."""
        self._going.clear()
        while self.in_flight:
            self.check()
            await asyncio.sleep(0.01)
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def resume(self) -> None:
        self._going.set()

    def check(self) -> None:
        """Raises what a client failed with, which is a defect of the clients."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _run(self, index: int) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / self._pause))
            await self._going.wait()
            self.in_flight += 1
            try:
                await self._ask_once(index)
            finally:
                self.in_flight -= 1

    async def _ask_once(self, index: int) -> None:
        asked = self._compose()
        give_up_after = self._rng.randrange(100_000) if self._rng.random() < 0.01 else None
        request = encode(asked, self._bucket.histories[asked.key].path, self._bucket)
        target = self._target(index)
        exchange = await self._exchange(index, target, asked, request, give_up_after)
        closed = exchange.status is None and exchange.reused and not exchange.timed_out
        if closed and self._may_be_closed(exchange):
            self.reopened += 1
            target.seen.add(exchange)
            target = self._target(index)
            exchange = await self._exchange(index, target, asked, request, give_up_after)
        target.seen.add(exchange)
        self._take(exchange)
        if self._rng.random() < 0.02 and (connection := self._connections.pop(index, None)):
            connection.close()

    async def _exchange(
        self,
        index: int,
        target: Target,
        asked: Asked,
        request: bytes,
        give_up_after: int | None,
    ) -> Exchange:
        connection = self._connections.get(index)
        if connection is None or not connection.usable:
            begin = time.monotonic()
            try:
                connection = await Connection.open(target.port, target.number)
            except OSError as error:
                await asyncio.sleep(0.05)
                return Exchange(
                    asked, begin, time.monotonic(), server=target.number, problem=repr(error)
                )
            self._connections[index] = connection
        return await connection.exchange(asked, request, give_up_after)

    def _compose(self) -> Asked:
        rng = self._rng
        history = self._bucket.choose()
        key, kind = history.key, rng.random()
        method = "HEAD" if rng.random() < 0.08 else "GET"
        recent = rng.choice(history.versions[-2:]).number
        if kind < 0.10:
            return Asked(key, method, if_none_match=recent)
        if kind < 0.12:
            return Asked(key, method, if_match=recent)
        if kind < 0.14:
            return Asked(key, method, reload=True)
        if kind < 0.26:
            size = history.current.size or 10
            first = rng.randrange(size + 2)
            span = rng.choice((1, 100, 10_000, 1_000_000))
            part = rng.choice(((first, first + span - 1), (first, None), (None, span)))
            if_range = recent if rng.random() < 0.2 else None
            return Asked(key, method, part=part, if_range=if_range)
        return Asked(key, method)


def encode(asked: Asked, path: str, bucket: Bucket) -> bytes:
    """The request as bytes."""
    versions = bucket.histories[asked.key].versions
    lines = [f"{asked.method} {path} HTTP/1.1", "Host: soak.test"]
    for name, number in (
        ("If-None-Match", asked.if_none_match),
        ("If-Match", asked.if_match),
        ("If-Range", asked.if_range),
    ):
        if number is not None:
            lines.append(f"{name}: {versions[number].etag}")
    if asked.part is not None:
        first, last = ("" if each is None else each for each in asked.part)
        lines.append(f"Range: bytes={first}-{last}")
    if asked.reload:
        lines.append("Cache-Control: no-cache")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def post(port: int, path: str, token: str, body: bytes) -> tuple[int | None, bytes]:
    """(status, body) of an admin request on a connection of its own; None without an answer."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: soak.test",
        f"X-Auth-Token: {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    try:
        connection = await Connection.open(port)
    except OSError:
        return None, b""
    with contextlib.closing(connection):
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        exchange = await connection.exchange(Asked(path, "POST"), request, None)
    return exchange.status, exchange.body
