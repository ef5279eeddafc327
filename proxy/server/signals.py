"""The signals that the parent of the workers gets, as bytes in a pipe which it can wait for."""

from __future__ import annotations

import contextlib
import os
import signal

STOPS = (signal.SIGTERM, signal.SIGINT)
# Which the parent heeds; its children begin with these blocked.
HEEDED = (*STOPS, signal.SIGHUP, signal.SIGCHLD)
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """``reader`` is ready when there is something to receive."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def open(self) -> None:
        """Begin to receive; a signal does nothing else from now on."""
        for pipe in (self.reader, self._writer):
            os.set_blocking(pipe, False)
        for number in HEEDED:
            signal.signal(number, _do_nothing)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def receive(self) -> bytes:
        """The numbers of the signals that have come, and a 0 for each wake(); raises OSError."""
        return os.read(self.reader, 4096)

    def wake(self) -> None:
        """Wake the parent, from a child that has news for it."""
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\0")

    def leave(self) -> None:
        """Receive nothing in a child, which may still wake the parent."""
        signal.set_wakeup_fd(-1)
        os.close(self.reader)


def _do_nothing(*_: object) -> None:
    """What a signal's number says is read from the pipe."""
