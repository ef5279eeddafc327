"""The parent of the workers: keeps as many as are wanted, alive, on one listening socket."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from proxy import metrics
from proxy.server import crew
from proxy.server.board import Board, State
from proxy.server.children import Children
from proxy.server.control import Control
from proxy.server.preload import preload, spare_collections
from proxy.server.respite import Respite
from proxy.server.run import uvicorn_options
from proxy.server.signals import STOPS, Signals

if TYPE_CHECKING:
    import socket

    from proxy.server.control import Answer
    from s3proxy_site.env import Config

logger = logging.getLogger("s3proxy.server")

_TICK_SECONDS = 1.0
# What a worker may take on top of its time to drain before it is killed.
_MARGIN_SECONDS = 5.0


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
        self._control = Control(answer)
        self._generation = 0
        self._respite = Respite()
        self._was_ready = False
        self._stopping = False
        self._tick_seconds = min(_TICK_SECONDS, self._hang_seconds / 2)
        self._looked_at = self._patient_until = 0.0
        self._signals = Signals()
        self._uvicorn = uvicorn.Config(**uvicorn_options(config))
        # No worker's; one for all, as they need nothing of their own in shared memory.
        self._errand_index = self._indexes[-1] + 1
        self._children = Children(
            self._uvicorn,
            listener,
            self._board,
            self._control,
            self._signals,
            beat_seconds=self._hang_seconds / 4,
            errand_index=self._errand_index,
        )

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
        preload(self._uvicorn, self._errand_index)
        crew.use(self._board)
        self._listener.setblocking(False)
        self._control.open(*self._listener.getsockname()[:2])
        self._signals.open()
        spare_collections()

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
        pid = self._children.worker(index)
        if pid is None:
            self._board.wipe(index)
            self._respite.died(now, 0.0)
            return None
        self._board.sign(index, pid)
        self._workers[index] = worker = Worker(index, pid, now, self._generation)
        logger.info("worker started", extra={"worker": index, "pid": pid})
        return worker

    def _converse(self) -> None:
        """Have whoever has come to the control socket answered."""
        connection = self._control.accept()
        if connection is None:
            return
        with connection:
            pid = self._children.respondent(connection)
        if pid is not None:
            self._control.answered_by(pid)

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
        """Have what a dead worker held given back, before another may take its index."""
        pid = self._children.cleaner(index)
        if pid is not None:
            self._forgetting[pid] = index

    def _kill_overdue(self, now: float) -> None:
        # Where this process itself was kept from running, the workers may have been, too.
        if now - self._looked_at > 2 * self._tick_seconds:
            self._patient_until = now + self._hang_seconds
        self._looked_at = now
        for worker in self._workers.values():
            if worker.kill_at is not None and now >= worker.kill_at:
                _kill(worker, "did not stop in time")
                worker.kill_at = now + _MARGIN_SECONDS
            elif worker.reason is None and now >= self._patient_until:
                seen = self._board.look(worker.index)
                if seen is not None and now - seen.heartbeat > self._hang_seconds:
                    worker.reason = "hung"
                    _kill(worker, worker.reason)

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
        sources: list[int | socket.socket] = [self._signals.reader, *self._control.waiting_for()]
        ready, _, _ = select.select(sources, [], [], max(0.0, min(moments) - now))
        if self._signals.reader in ready:
            for number in self._signals.receive():
                self._heed(number)
        if any(source is not self._signals.reader for source in ready):
            self._converse()

    def _heed(self, number: int) -> None:
        now = time.monotonic()
        if number in STOPS:
            # A worker that is told SIGINT again does not wait for what is running.
            again = self._stopping and number == signal.SIGINT
            if self._stopping and not again:
                return
            if not again:
                self._stopping = True
                self._listener.close()
                logger.info("stopping", extra={"signal": signal.Signals(number).name})
            for worker in self._workers.values():
                self._stop(worker, signal.SIGINT if again else signal.SIGTERM, now, "stopping")
        elif number == signal.SIGHUP and not self._stopping:
            logger.info("replacing the workers", extra={"signal": "SIGHUP"})
            self._generation += 1


def _kill(worker: Worker, reason: str) -> None:
    facts = {"worker": worker.index, "pid": worker.pid, "reason": reason}
    logger.error("worker killed", extra=facts)
    os.kill(worker.pid, signal.SIGKILL)
