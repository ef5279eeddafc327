"""Accepts connections from a socket that several workers listen on, each its share.

All of them are woken for every connection, and the first takes it. That is nearly always the same
one where connections come one by one: of 64 that were opened 10 ms apart, one of two workers had
63. So a worker that has more of them than another leaves the next to that one, for a moment.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

logger = logging.getLogger("s3proxy.server")

# Longer than an idle worker needs to wake up, too short for a client to notice.
_POLITE_SECONDS = 0.002
_EXHAUSTED_SECONDS = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """``is_ahead`` says whether another worker should have the next connection."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        is_ahead: Callable[[], bool],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._factory = factory
        self._is_ahead = is_ahead
        self._waiting: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[object]] = set()
        self._loop.add_reader(listener, self._on_readable)

    @property
    def beginning(self) -> int:
        """Connections that were accepted, but have no protocol yet."""
        return len(self._beginning)

    def close(self) -> None:
        """Accept no more."""
        if self._waiting is not None:
            self._waiting.cancel()
        else:
            self._loop.remove_reader(self._listener)

    def _on_readable(self) -> None:
        if self._is_ahead():
            self._pause(_POLITE_SECONDS)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listener, self._on_readable)
        # Where nobody else has taken it meanwhile, nobody else will.
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as exc:
            if exc.errno not in _EXHAUSTED:
                raise
            logger.error("cannot accept: %s", exc.strerror)  # noqa: TRY400 - no bug to trace
            self._pause(_EXHAUSTED_SECONDS)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
