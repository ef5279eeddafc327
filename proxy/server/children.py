"""Forks the children of a server's parent: workers, or one for a single errand.

The parent has one thread, which must not wait: a lock that a stopped worker holds would keep it
from ever killing that one. So whatever may wait is done by a child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from proxy import processes
from proxy.server.signals import HEEDED, STOPS
from proxy.server.worker import WorkerServer, die_with, work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import uvicorn

    from proxy.server.board import Board
    from proxy.server.control import Control
    from proxy.server.signals import Signals

logger = logging.getLogger("s3proxy.server")


class Children:
    """Each public method gives the pid of a child for its job; None, logged, where there is none.

    It is made in the parent. A worker beats every ``beat_seconds``; ``errand_index`` is that of
    every child that is no worker.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        board: Board,
        control: Control,
        signals: Signals,
        *,
        beat_seconds: float,
        errand_index: int,
    ) -> None:
        self._config = config
        self._listener = listener
        self._board = board
        self._control = control
        self._signals = signals
        self._beat_seconds = beat_seconds
        self._errand_index = errand_index
        self._parent = os.getpid()
        self._lifeline_reader, self._lifeline_writer = os.pipe()

    def worker(self, index: int) -> int | None:
        """Serve, as the worker with this index."""
        return _fork(
            lambda: self._be(
                index, lambda: self._work(index), "worker failed", worker=index, pid=os.getpid()
            ),
            "no process for a worker",
        )

    def respondent(self, connection: socket.socket) -> int | None:
        """Answer who has come to the control socket."""
        return _fork(
            lambda: self._be(
                self._errand_index,
                lambda: self._run_errand(lambda: self._control.converse(connection)),
                "answering by the control socket failed",
            ),
            "no process for the control socket",
        )

    def cleaner(self, index: int) -> int | None:
        """Give back what a dead worker held, whose index this was."""
        return _fork(
            lambda: self._be(
                self._errand_index,
                lambda: self._run_errand(lambda: _forget(index)),
                "cleaning up after a worker failed",
                worker=index,
            ),
            "no process to clean up after a worker",
        )

    def _be(self, index: int, job: Callable[[], int], failure: str, **facts: int) -> NoReturn:
        """Become a process of its own, which has nothing of what is the parent's alone."""
        status = 1
        try:
            processes.become(index)
            self._signals.leave()
            self._control.leave()
            os.close(self._lifeline_writer)
            status = job()
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 1
        except BaseException:
            logger.exception(failure, extra=facts)
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            # Nothing of the parent's is to be cleaned up by its child.
            os._exit(status)

    def _work(self, index: int) -> int:
        self._board.sign(index, os.getpid())
        server = WorkerServer(self._config, self._board, self._beat_seconds, self._signals.wake)
        for number in STOPS:
            signal.signal(number, server.handle_exit)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._begin()
        return work(server, self._listener, self._lifeline_reader)

    def _run_errand(self, errand: Callable[[], object]) -> int:
        # Else clients could go on connecting, with nobody to accept.
        self._listener.close()
        self._begin()
        errand()
        return 0

    def _begin(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
        die_with(self._parent)


def _fork(child: Callable[[], NoReturn], failure: str) -> int | None:
    """The pid of a process that begins with all our signals blocked; None where none was made."""
    # Else one of the parent's handlers could run in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    try:
        pid = os.fork()
        if pid == 0:
            child()
    except OSError as exc:
        logger.error(failure, extra={"reason": str(exc)})  # noqa: TRY400
        return None
    else:
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)


def _forget(index: int) -> None:
    for call in processes.on_death:
        call(index)
