"""Runs an S3 look-alike that misbehaves exactly as a test scripts it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

import pytest

from tests.origins.exchange import Exchange, Hangup, RecordedRequest, Step, describe, key_of
from tests.origins.gate import Gate
from tests.origins.steps import respond, s3_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

_MAX_HEAD = 64 * 1024
# No exchange lasts longer, whatever its script waits for.
_EXCHANGE_LIMIT = 60.0
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)

Script: TypeAlias = tuple[Step, ...]
T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    number: int
    # Whether it ends with RST.
    reset: bool = False
    inbox: asyncio.StreamReader = field(
        default_factory=lambda: asyncio.StreamReader(limit=_MAX_HEAD)
    )

    async def pump(self) -> None:
        """Moves what arrives into the inbox; returns when the client has left."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self.sock, 65536):
                self.inbox.feed_data(data)
        self.inbox.feed_eof()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        # Cancelled tasks may not have let go of the descriptor yet, and its number is used again.
        loop.remove_reader(self.sock)
        loop.remove_writer(self.sock)
        if self.reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        self.sock.close()


class ScriptedOrigin:
    """A path-style S3 endpoint on 127.0.0.1 with an event loop and thread of its own.

    Scripts are set with `on`; without one a key is 404 NoSuchKey. Methods are for the test's
    thread; `until` and `until_requests` are for tests whose event loop must go on meanwhile.
    """

    def __init__(self, bucket: str = "bucket", *, close_each: bool = False) -> None:
        self.bucket = bucket
        # Whether a connection ends after each response.
        self.close_each = close_each
        self.open_connections = 0
        self.connections = 0
        # Clients that left while their request was still being answered.
        self.disconnects = 0
        self._requests: list[RecordedRequest] = []
        self._scripts: dict[str, Script] = {}
        self._default: Script = (s3_error(404, "NoSuchKey"),)
        self._changed = threading.Condition()
        self._failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-origin")
        self._thread.start()
        self.port = self._call(self._listen(0))
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environ(self) -> dict[str, str]:
        """The proxy's variables that point it to this origin."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": self.bucket,
            "S3_ACCESS_KEY": "scripted-access-key",
            "S3_SECRET_KEY": "scripted-secret-key",
            "S3_REGION": "us-east-1",
            "S3_ADDRESSING_STYLE": "path",
        }

    def on(self, key: str, *steps: Step) -> None:
        """Plays `steps` in order for each request for `key`; "" is the bucket itself."""
        self._scripts[key] = steps

    def default(self, *steps: Step) -> None:
        """Plays `steps` for every key without a script of its own."""
        self._default = steps

    def gate(self) -> Gate:
        return Gate(self._loop)

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, oldest first."""
        with self._changed:
            return list(self._requests)

    def count(self, key: str | None = None) -> int:
        """How many requests came, for `key` or at all."""
        return sum(1 for request in self.requests if key in (None, request.key))

    def wait_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Waits for a condition on this origin's counters; raises AssertionError if it fails."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(
                    f"not within {timeout} s: {self.open_connections} open connections, "
                    f"{self.disconnects} disconnects, requests:\n{describe(self._requests)}"
                )

    def wait_for(self, count: int, key: str | None = None, timeout: float = 5.0) -> None:
        """Waits until `count` requests have come; raises AssertionError if they do not."""
        self.wait_until(lambda: self.count(key) >= count, timeout)

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """`wait_until` for a test whose event loop must go on."""
        await asyncio.to_thread(self.wait_until, condition, timeout)

    async def until_requests(
        self, count: int, key: str | None = None, timeout: float = 5.0
    ) -> None:
        """`wait_for` for a test whose event loop must go on."""
        await asyncio.to_thread(self.wait_for, count, key, timeout)

    def go_down(self) -> None:
        """Drops every connection; further ones are refused."""
        self._call(self._go_down())

    def come_back(self) -> None:
        """Listens on the same port again."""
        self._call(self._listen(self.port))

    def stop(self) -> None:
        """Ends everything; raises what a script raised by mistake."""
        self._call(self._go_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
        if self._failures:
            raise self._failures[0]

    def _call(self, work: Coroutine[object, object, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=10)

    async def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)
        self._listener = listener
        # Not `sock_accept`: a task cancelled at the wrong moment loses the connection.
        self._loop.add_reader(listener, self._accept, listener)
        bound: int = listener.getsockname()[1]
        return bound

    async def _go_down(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        doomed = list(self._tasks)
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            # The client has gone again.
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self.connections += 1
            self.open_connections += 1
            self._changed.notify_all()
        connection = _Connection(sock, self.connections)
        # A callback, because a task cancelled before its first step runs no `finally`.
        self._spawn(self._serve(connection)).add_done_callback(lambda _: self._close(connection))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """A task that `_go_down` ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _close(self, connection: _Connection) -> None:
        connection.close()
        with self._changed:
            self.open_connections -= 1
            self._changed.notify_all()

    async def _serve(self, connection: _Connection) -> None:
        pump = self._spawn(connection.pump())
        try:
            while (asked := await self._next_request(connection)) is not None:
                if not await self._answer(connection, *asked, pump):
                    break
        except Hangup as hangup:
            connection.reset = hangup.reset
        except Exception as error:  # noqa: BLE001 - whatever it is, `stop` raises it in the test
            self._failures.append(error)
        finally:
            pump.cancel()

    async def _next_request(self, connection: _Connection) -> tuple[RecordedRequest, Script] | None:
        """With what answers it; None once the client has left or talks no HTTP."""
        try:
            head = await connection.inbox.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        request_line, *lines = head[:-4].split(b"\r\n")
        method, _, rest = request_line.partition(b" ")
        target = rest.rpartition(b" ")[0]
        pairs = (line.partition(b":") for line in lines)
        headers = tuple((name, value.strip()) for name, _, value in pairs)
        length = sum(int(value) for name, value in headers if name.lower() == b"content-length")
        try:
            body = await connection.inbox.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        key = key_of(target, self.bucket)
        request = RecordedRequest(
            method.decode(), target, headers, body, key, connection.number, time.monotonic()
        )
        # Before a test may know of the request, and write another script for the next.
        script = self._script(key)
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        return request, script

    async def _answer(
        self,
        connection: _Connection,
        request: RecordedRequest,
        script: Script,
        pump: asyncio.Task[None],
    ) -> bool:
        """Whether the connection can go on; raises Hangup if the script ends it."""
        exchange = Exchange(request, connection.send, keep_alive=not self.close_each)
        play = self._spawn(self._play(script, exchange))
        try:
            await asyncio.wait(
                {play, pump}, timeout=_EXCHANGE_LIMIT, return_when=asyncio.FIRST_COMPLETED
            )
            if play.done():
                with contextlib.suppress(ConnectionError):
                    play.result()
                    return exchange.keep_alive
            if not pump.done() and not play.done():
                raise TimeoutError(f"still answering after {_EXCHANGE_LIMIT} s: {request}")
        finally:
            play.cancel()
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()
        return False

    async def _play(self, script: Script, exchange: Exchange) -> None:
        for step in script:
            await step.play(exchange)

    def _script(self, key: str | None) -> Script:
        if key is None:
            return (s3_error(404, "NoSuchBucket"),)
        if key == "" and key not in self._scripts:
            return (respond(200, headers={"x-amz-bucket-region": "us-east-1"}),)
        return self._scripts.get(key, self._default)


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as scripted:
        yield scripted
