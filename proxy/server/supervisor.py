"""The parent of the workers: keeps as many as are wanted, alive, on one listening socket."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from django.urls import get_resolver

from proxy import metrics, processes
from proxy.server import crew
from proxy.server.board import Board, State
from proxy.server.control import Control
from proxy.server.heap import map_large_blocks
from proxy.server.respite import Respite
from proxy.server.run import uvicorn_options
from proxy.server.worker import WorkerServer, die_with, work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from proxy.server.control import Answer
    from s3proxy_site.env import Config

logger = logging.getLogger("s3proxy.server")

_TICK_SECONDS = 1.0
# Collections of the middle generation before one of all.
_FULL_COLLECTION_EVERY = 100
# What a worker may take on top of its time to drain before it is killed.
_MARGIN_SECONDS = 5.0
_STOPS = (signal.SIGTERM, signal.SIGINT)
_OURS = (*_STOPS, signal.SIGHUP, signal.SIGCHLD)
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)


@dataclass(slots=True)
class Worker:
    """A child of ours; times are those of ``time.monotonic()``."""

    index: int
    pid: int
    started: float
    generation: int
    # When it is killed if it is still there: set once it was told to stop.
    kill_at: float | None = None
    # Why it was killed or told to stop, where that was our doing.
    reason: str | None = None


class Supervisor:
    """Runs the workers until it is told to stop.

    SIGTERM and SIGINT stop it, a further SIGINT at once; SIGHUP replaces the workers one by one.
    ``answer`` is for what is asked by the control socket, which there is none of without it.
    """

    def __init__(
        self, config: Config, listener: socket.socket, answer: Answer | None = None
    ) -> None:
        self._wanted = config.web_concurrency
        self._drain_seconds = config.drain_timeout + _MARGIN_SECONDS
        self._hang_seconds = config.worker_timeout
        self._listener = listener
        self._workers: dict[int, Worker] = {}
        # Processes that clean up after a dead worker, with its index.
        self._forgetting: dict[int, int] = {}
        # Each may have a successor while it drains.
        self._indexes = range(1, 2 * self._wanted + 1)
        self._board = Board(self._indexes[-1])
        # For the process that answers by the control socket.
        self._control_index = self._indexes[-1] + 1
        self._control = Control(answer)
        self._generation = 0
        self._respite = Respite()
        self._was_ready = False
        self._stopping = False
        self._tick_seconds = min(_TICK_SECONDS, self._hang_seconds / 2)
        self._looked_at = self._patient_until = 0.0
        self._uvicorn = uvicorn.Config(**uvicorn_options(config))
        self._wake_reader, self._wake_writer = os.pipe()
        self._lifeline_reader, self._lifeline_writer = os.pipe()

    def run(self) -> bool:
        """Serve until told to stop; False where no worker ever did."""
        self._prepare()
        try:
            self._supervise()
        finally:
            self._control.close()
        return self._stopping or self._was_ready

    def _supervise(self) -> None:
        while True:
            now = time.monotonic()
            self._reap(now)
            self._see_who_is_ready()
            if not self._workers and (self._stopping or not self._may_spawn()):
                break
            self._kill_overdue(now)
            if not self._stopping:
                self._replace(now)
            self._wait(now)

    def _prepare(self) -> None:
        """All that workers have in common: code, settings, shared memory."""
        map_large_blocks()
        self._uvicorn.load()
        # The views' modules, which otherwise each worker would import with its first request.
        get_resolver().url_patterns  # noqa: B018 - for its effect
        for call in processes.before_fork:
            call(self._control_index)
        crew.use(self._board)
        # A fork copies one thread of many, and an event loop's descriptors with it.
        assert threading.active_count() == 1
        self._listener.setblocking(False)
        self._control.open(*self._listener.getsockname()[:2])
        for pipe in (self._wake_reader, self._wake_writer):
            os.set_blocking(pipe, False)
        for number in _OURS:
            signal.signal(number, _do_nothing)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        # What has been imported stays for good: without it to look through, a full collection
        # takes microseconds, and leaves pages alone that the workers share.
        gc.collect()
        gc.freeze()
        # What workers hold of responses has no cycles, but would be looked through each time: some
        # ten milliseconds in which nobody is answered. So that is done a tenth as often.
        gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTION_EVERY)

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.kill_at is None]

    def _may_spawn(self) -> bool:
        # Where none of the first has come to serve, no other will.
        return self._was_ready or not self._respite.deaths

    def _replace(self, now: float) -> None:
        """Fork what is missing; while nothing is, go on with replacing one after the other."""
        if not self._may_spawn():
            return
        serving = self._serving()
        while len(serving) < self._wanted and now >= self._respite.until:
            worker = self._spawn(now)
            if worker is None:
                return
            serving.append(worker)
        outdated = [worker for worker in serving if worker.generation < self._generation]
        if not outdated or len(serving) < self._wanted or not all(map(self._is_ready, serving)):
            return
        if len(serving) > self._wanted:
            metrics.restarts["reload"].inc()
            self._stop(outdated[0], signal.SIGTERM, now, "reload")
        elif now >= self._respite.until:
            self._spawn(now)

    def _spawn(self, now: float) -> Worker | None:
        taken = self._workers.keys() | self._forgetting.values()
        index = next((index for index in self._indexes if index not in taken), None)
        if index is None:
            return None
        self._board.announce(index, now)
        parent = os.getpid()
        try:
            pid = _fork(lambda: self._be_worker(index, parent))
        except OSError as exc:
            logger.error("no process for a worker", extra={"reason": str(exc)})  # noqa: TRY400
            self._board.wipe(index)
            self._respite.died(now, 0.0)
            return None
        self._board.sign(index, pid)
        self._workers[index] = worker = Worker(index, pid, now, self._generation)
        logger.info("worker started", extra={"worker": index, "pid": pid})
        return worker

    def _be_worker(self, index: int, parent: int) -> NoReturn:
        status = 1
        try:
            self._part(index)
            self._board.sign(index, os.getpid())
            self._control.leave()
            server = WorkerServer(
                self._uvicorn, self._board, self._hang_seconds / 4, self._wake_parent
            )
            for number in _STOPS:
                signal.signal(number, server.handle_exit)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            die_with(parent)
            status = work(server, self._listener, self._lifeline_reader)
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 1
        except BaseException:
            logger.exception("worker failed", extra={"worker": index, "pid": os.getpid()})
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            # Nothing of the parent's is to be cleaned up by its child.
            os._exit(status)

    def _part(self, index: int) -> None:
        """Become a process of its own, which has nothing of what is the parent's alone."""
        processes.become(index)
        signal.set_wakeup_fd(-1)
        os.close(self._wake_reader)
        os.close(self._lifeline_writer)

    def _converse(self) -> None:
        """Have whoever has come to the control socket answered."""
        connection = self._control.accept()
        if connection is None:
            return
        parent = os.getpid()
        try:
            pid = _fork(lambda: self._be_respondent(connection, parent))
        except OSError as exc:
            logger.error("no process for the control socket", extra={"reason": str(exc)})  # noqa: TRY400
        else:
            self._control.answered_by(pid)
        finally:
            connection.close()

    def _be_respondent(self, connection: socket.socket, parent: int) -> NoReturn:
        try:
            self._part(self._control_index)
            # Else clients could go on connecting, with nobody to accept.
            self._listener.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            die_with(parent)
            self._control.converse(connection)
        except BaseException:
            logger.exception("answering by the control socket failed")
        finally:
            os._exit(0)

    def _wake_parent(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_writer, b"\0")

    def _is_ready(self, worker: Worker) -> bool:
        seen = self._board.look(worker.index)
        return seen is not None and seen.state is State.READY

    def _see_who_is_ready(self) -> None:
        self._was_ready = self._was_ready or any(map(self._is_ready, self._workers.values()))

    def _reap(self, now: float) -> None:
        """Take notice of all children that have ended, also of those that we only inherited."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._control.ended(pid)
            self._forgetting.pop(pid, None)
            for worker in list(self._workers.values()):
                if worker.pid == pid:
                    self._bury(worker, os.waitstatus_to_exitcode(status), now)

    def _bury(self, worker: Worker, status: int, now: float) -> None:
        """``status`` is negative for a signal's number."""
        seen = self._board.look(worker.index)
        self._was_ready = self._was_ready or (seen is not None and seen.state >= State.READY)
        del self._workers[worker.index]
        self._board.wipe(worker.index)
        if not self._stopping:
            self._forget(worker.index)
        facts = {"worker": worker.index, "pid": worker.pid, "status": status}
        if worker.kill_at is not None:
            logger.info("worker stopped", extra=facts | {"reason": worker.reason})
            return
        reason = worker.reason or ("killed" if status < 0 else "exited")
        logger.error("worker died", extra=facts | {"reason": reason})
        metrics.restarts[reason].inc()
        self._respite.died(now, now - worker.started)

    def _forget(self, index: int) -> None:
        """Have what a dead worker held given back, before another may take its index.

        By a process of its own: a worker that was stopped while it held a lock would keep this one
        from ever killing it.
        """
        parent = os.getpid()
        try:
            pid = _fork(lambda: self._be_forgetful(index, parent))
        except OSError as exc:
            logger.error("no process to clean up after a worker", extra={"reason": str(exc)})  # noqa: TRY400
        else:
            self._forgetting[pid] = index

    def _be_forgetful(self, index: int, parent: int) -> NoReturn:
        try:
            self._part(self._control_index)
            self._listener.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            die_with(parent)
            for call in processes.on_death:
                call(index)
        except BaseException:
            logger.exception("cleaning up after a worker failed", extra={"worker": index})
        finally:
            os._exit(0)

    def _kill_overdue(self, now: float) -> None:
        # Where this process itself was kept from running, the workers may have been, too.
        if now - self._looked_at > 2 * self._tick_seconds:
            self._patient_until = now + self._hang_seconds
        self._looked_at = now
        for worker in self._workers.values():
            if worker.kill_at is not None and now >= worker.kill_at:
                logger.error("worker killed", extra=_facts(worker, "did not stop in time"))
                os.kill(worker.pid, signal.SIGKILL)
                worker.kill_at = now + _MARGIN_SECONDS
            elif worker.reason is None and now >= self._patient_until:
                seen = self._board.look(worker.index)
                if seen is not None and now - seen.heartbeat > self._hang_seconds:
                    logger.error("worker killed", extra=_facts(worker, "hung"))
                    worker.reason = "hung"
                    os.kill(worker.pid, signal.SIGKILL)

    def _stop(self, worker: Worker, number: signal.Signals, now: float, reason: str) -> None:
        if worker.kill_at is None:
            worker.kill_at = now + self._drain_seconds
            worker.reason = reason
        os.kill(worker.pid, number)

    def _wait(self, now: float) -> None:
        """Until a signal, news of a worker, or the time to look after something."""
        moments = [now + self._tick_seconds]
        moments += [worker.kill_at for worker in self._workers.values() if worker.kill_at]
        if len(self._serving()) < self._wanted and self._respite.until > now:
            moments.append(self._respite.until)
        sources: list[int | socket.socket] = [self._wake_reader, *self._control.waiting_for()]
        ready, _, _ = select.select(sources, [], [], max(0.0, min(moments) - now))
        if self._wake_reader in ready:
            for number in os.read(self._wake_reader, 4096):
                self._heed(number)
        if any(source is not self._wake_reader for source in ready):
            self._converse()

    def _heed(self, number: int) -> None:
        now = time.monotonic()
        if number in _STOPS:
            # A worker that is told SIGINT again does not wait for what is running.
            again = self._stopping and number == signal.SIGINT
            if not self._stopping:
                self._stopping = True
                self._listener.close()
                logger.info("stopping", extra={"signal": signal.Signals(number).name})
                targets = list(self._workers.values())
            else:
                targets = list(self._workers.values()) if again else []
            for worker in targets:
                self._stop(worker, signal.SIGINT if again else signal.SIGTERM, now, "stopping")
        elif number == signal.SIGHUP and not self._stopping:
            logger.info("replacing the workers", extra={"signal": "SIGHUP"})
            self._generation += 1


def _fork(child: Callable[[], NoReturn]) -> int:
    """The pid of a process that begins with all our signals blocked; raises OSError."""
    # Else one of the parent's handlers could run in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        pid = os.fork()
        if pid == 0:
            child()
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)


def _facts(worker: Worker, reason: str) -> dict[str, object]:
    return {"worker": worker.index, "pid": worker.pid, "reason": reason}


def _do_nothing(*_: object) -> None:
    """What a signal's number says is read from the pipe."""
