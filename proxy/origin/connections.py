"""The pool of connections to the origin."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.origin.connection import Connection
from proxy.origin.dialing import Dialer
from proxy.origin.faults import DisconnectedError

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

    from proxy.origin.location import Endpoint
    from proxy.origin.response import Response

# S3 closes connections that are idle for 20 s: ours must not be used in just that moment.
IDLE_SECONDS = 15.0
# Closing takes one turn of the event loop.
_CLOSING_SECONDS = 1.0


@dataclass(slots=True)
class Trip:
    """One request on one connection.

    ``reused``: the connection had been idle before; ``keys`` signed it.
    """

    reused: bool = False
    keys: ReadOnlyCredentials | None = None


class Connections:
    """Connections to one endpoint at a time, opened when needed, at most ``limit`` of them idle.

    Those used last are used first, so that the others grow old and are closed. A body may be
    silent for ``timeout`` seconds.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._dialer = Dialer()
        self._endpoint: Endpoint | None = None
        # The one that has been idle for longest first.
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_lost: asyncio.Event | None = None

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    async def aclose(self) -> None:
        """Close every connection; none is opened any more."""
        self._closed = True
        self._dialer.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        self._all_lost = asyncio.Event()
        for connection in list(self._open):
            connection.abort()
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._all_lost.wait()

    async def get(self, endpoint: Endpoint, head: bytes, trip: Trip) -> Response:
        """Send one request, once, and wait for the head of its response.

        Raises ConnectionFaultError.
        """
        if endpoint is not self._endpoint:
            self._move_to(endpoint)
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_usable:
                continue
            if connection.has_unread:
                connection.abort()
                continue
            trip.reused = True
            return await connection.get(head)
        return await (await self._new()).get(head)

    def forget_addresses(self) -> None:
        """Resolve the host name anew for the next connection: the origin may have moved."""
        self._dialer.forget_addresses()

    def _move_to(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    async def _new(self) -> Connection:
        assert self._endpoint is not None
        endpoint, loop = self._endpoint, asyncio.get_running_loop()

        def factory() -> Connection:
            return Connection(loop, endpoint, self._timeout, self._rest, self._forget)

        connection = await self._dialer.dial(endpoint, factory)
        if not connection.is_usable:
            raise DisconnectedError("the connection was closed at once")
        self._open.add(connection)
        if self._closed:
            connection.abort()
            raise DisconnectedError("the proxy is stopping")
        return connection

    def _rest(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if (
            len(self._idle) >= self._limit
            or self._closed
            or connection.endpoint is not self._endpoint
        ):
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(IDLE_SECONDS, self._close_the_old)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if not self._open and self._all_lost is not None:
            self._all_lost.set()

    def _close_the_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        while self._idle and (left := self._idle[0].idle_since + IDLE_SECONDS - loop.time()) <= 0:
            self._idle.pop(0).abort()
        if self._idle:
            self._sweep = loop.call_later(left, self._close_the_old)
