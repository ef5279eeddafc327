"""The other end of a connection, byte for byte, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from proxy.origin.connections import Connections, Trip
from proxy.origin.location import Endpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from proxy.origin.response import Response

Talk: TypeAlias = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"


class Peer:
    """A server whose every connection is served by one function, and ends with it."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.accepted = 0
        self.open = 0
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None) -> Endpoint:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        port: int = self._server.sockets[0].getsockname()[1]
        return Endpoint("127.0.0.1", port, tls is not None)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def request(self, reader: asyncio.StreamReader) -> bool:
        """Read a request; False where the client has left."""
        try:
            await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.requests += 1
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError):
                await self._talk(reader, writer)
        except asyncio.CancelledError:
            # asyncio logs it where a server's callback is cancelled.
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()


class HaltingPeer(Peer):
    """A peer that answers with ``begin``, then with ``rest``, if any, once told to ``go``."""

    def __init__(self, begin: bytes, rest: bytes = b"") -> None:
        self.go = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.request(reader)
            writer.write(begin)
            if rest:
                await self.go.wait()
                writer.write(rest)
            await reader.read()

        super().__init__(talk)


@asynccontextmanager
async def serving(
    *answers: bytes, close: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Peer, Endpoint]]:
    """A peer that answers each request on a connection with the next of ``answers``.

    The last one repeats. With ``close`` a connection ends after the first.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        while await peer.request(reader):
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
            if close:
                return

    peer = Peer(talk)
    async with talking(peer, tls) as endpoint:
        yield peer, endpoint


@asynccontextmanager
async def talking(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """A peer for as long as the context lasts."""
    endpoint = await peer.start(tls)
    try:
        yield endpoint
    finally:
        await peer.stop()


@asynccontextmanager
async def pool(limit: int = 8, timeout: float = 5.0) -> AsyncIterator[Connections]:
    """Connections that are closed in the end, all of them."""
    connections = Connections(limit, timeout)
    try:
        yield connections
    finally:
        await connections.aclose()
        assert (connections.open, connections.idle) == (0, 0)


async def ask(connections: Connections, endpoint: Endpoint, trip: Trip | None = None) -> Response:
    """The response to a request without a name."""
    return await connections.get(endpoint, REQUEST, trip or Trip())


async def body_of(response: Response) -> bytes:
    """All that is left of a body; closes the response."""
    try:
        pieces = []
        while piece := await response.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        response.close()


async def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait until something is so; AssertionError if it does not get so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        assert loop.time() < end, "not in time"
        await asyncio.sleep(0.002)
