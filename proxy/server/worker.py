"""One worker: a uvicorn server on a socket that it has inherited."""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import termios
import time
from typing import TYPE_CHECKING

import uvicorn

from proxy import processes
from proxy.server.acceptor import Acceptor
from proxy.server.board import State
from proxy.server.heap import Heap
from proxy.server.protocol import HttpProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from proxy.server.board import Board

_BEAT_SECONDS = 1.0
# How long connections that are open already may take to bring a request, once the worker stops.
_HEARING_SECONDS = 0.5
_HEARING_STEP = 0.02
# By how many connections a worker may be ahead of another and still accept at once.
_UNEVEN_CONNECTIONS = 2
# prctl(2)
_PR_SET_PDEATHSIG = 1


class WorkerServer(uvicorn.Server):
    """uvicorn's server, which in addition shows on the board that it is alive."""

    def __init__(
        self,
        config: uvicorn.Config,
        board: Board,
        beat_seconds: float,
        on_ready: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._board = board
        self._beat_seconds = min(_BEAT_SECONDS, beat_seconds)
        self._on_ready = on_ready
        self._acceptors: list[Acceptor] = []
        self._heap = Heap()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        assert sockets is not None
        self._beat()
        await super().startup([])
        self._acceptors = [Acceptor(sock, self._protocol, self._is_ahead) for sock in sockets]
        self._board.enter(processes.index(), State.READY)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and answer what was asked before."""
        self._board.enter(processes.index(), State.DRAINING)
        for acceptor in self._acceptors:
            acceptor.close()
        for sock in sockets or ():
            sock.close()
        await self._hear_out()
        await super().shutdown()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        self._count_connections()
        return await super().on_tick(counter)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _count_connections(self) -> int:
        beginning = sum(acceptor.beginning for acceptor in self._acceptors)
        count = len(self.server_state.connections) + beginning
        self._board.count(processes.index(), count)
        return count

    def _is_ahead(self) -> bool:
        fewest = self._board.fewest_connections(time.monotonic())
        return fewest is not None and self._count_connections() > fewest + _UNEVEN_CONNECTIONS

    def _beat(self) -> None:
        self._board.beat(processes.index(), time.monotonic())
        self._heap.look(time.monotonic())
        asyncio.get_running_loop().call_later(self._beat_seconds, self._beat)

    async def _hear_out(self) -> None:
        """Read what connections have sent already: closing them would be a reset for the client.

        One that was just accepted has sent its request, or is about to; only between two requests
        may a client expect to be closed upon (RFC 9112 §9.3.1).
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _HEARING_SECONDS
        self._shut_down_the_heard()
        # At least once, for connections that were accepted but are not known yet.
        await asyncio.sleep(_HEARING_STEP)
        # Nothing announces that bytes have come for a connection.
        while (  # noqa: ASYNC110
            self._shut_down_the_heard() and loop.time() < give_up and not self.force_exit
        ):
            await asyncio.sleep(_HEARING_STEP)

    def _shut_down_the_heard(self) -> bool:
        """Are there connections left that a request may be on its way on?"""
        left = False
        for connection in list(self.server_state.connections):
            assert isinstance(connection, HttpProtocol)
            if connection.awaits_request and (
                not connection.was_answered or _has_unread(connection.transport)
            ):
                left = True
            else:
                connection.shutdown()
        return left


def _has_unread(transport: asyncio.Transport) -> bool:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    except (OSError, ValueError):
        # Closed meanwhile.
        return False
    return count[0] > 0


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, of this pid, ends; Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # It may have ended before it was asked for.
    if os.getppid() != parent:
        os._exit(1)


def work(server: WorkerServer, listener: socket.socket, lifeline: int) -> int:
    """Serve until told to stop; the exit status. ``lifeline`` reads end-of-file once the parent
    has gone, on every system.
    """

    async def serve() -> None:
        asyncio.get_running_loop().add_reader(lifeline, os._exit, 1)
        await server.serve(sockets=[listener])

    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
    return 0 if server.started else 1
