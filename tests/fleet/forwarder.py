"""Stands between a replica and Redis, as a network that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Forwarder:
    """Forwards a port of 127.0.0.1 to another, on a thread of its own.

    Cut, it refuses connections and resets those that there are.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder")
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.port = self._call(self._listen())
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def cut(self) -> None:
        """From now on nothing comes through."""
        self._call(self._cut())

    def mend(self) -> None:
        """Listens on the same port again."""
        self._call(self._listen())

    def _call(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        doomed = list(self._connections)
        for connection in doomed:
            connection.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            # Also what tells of our own end: a cancelled handler would be reported as an error.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                redis, to_redis = await asyncio.open_connection("127.0.0.1", self._to_port)
                writers.append(to_redis)
                there = asyncio.create_task(_copy(reader, to_redis))
                back = asyncio.create_task(_copy(redis, writer))
                try:
                    await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    there.cancel()
                    back.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)
        finally:
            for each in writers:
                each.transport.abort()
            self._connections.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
