"""Decides whether Redis is worth a try: a circuit breaker.

    closed     calls go through; a failure, or several slow answers in a row, opens it
    open       no call goes through for a rest of a second, which doubles with each failure
               in a row up to ten seconds, with jitter so that replicas do not return together
    half-open  the rest is over: one call goes through as a probe; its outcome closes or reopens

So a server that is gone costs a request one bounded delay, and most requests nothing.
"""

from __future__ import annotations

import random
import threading
import time
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 10.0
SLOW_IN_A_ROW = 3


class State(Enum):
    """The value is what the gauge shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


def _ignore(_state: State, _reason: str) -> None:
    pass


class Breaker:
    """Shared by all threads of a process.

    Whoever was allowed a call says how it ended: succeeded(), failed() or abandoned().
    ``on_change`` hears of each new state with the reason for it.
    """

    def __init__(
        self,
        on_change: Callable[[State, str], None] = _ignore,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._wall_clock = wall_clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._rest = FIRST_REST_SECONDS
        self._opens_at = 0.0
        self._slow = 0
        self._failing_since: float | None = None

    @property
    def state(self) -> State:
        """As of the last call; an open breaker turns half-open when somebody asks allows()."""
        return self._state

    @property
    def failing_since(self) -> float | None:
        """Seconds since the epoch at the first failure after the last success, if any."""
        return self._failing_since

    @property
    def rests(self) -> bool:
        """Would allows() say no?"""
        with self._lock:
            return self._rests()

    def allows(self) -> bool:
        """May a call be tried now?"""
        with self._lock:
            if self._rests():
                return False
            if self._state is State.OPEN:
                self._change(State.HALF_OPEN, "the rest is over")
            return True

    def succeeded(self, *, slow: bool = False) -> None:
        """A call was answered."""
        with self._lock:
            if self._state is State.OPEN:
                return  # begun before it opened
            self._slow = self._slow + 1 if slow else 0
            if self._slow >= SLOW_IN_A_ROW:
                self._open("slow answers")
                return
            self._failing_since = None
            self._rest = FIRST_REST_SECONDS
            if self._state is State.HALF_OPEN:
                self._change(State.CLOSED, "answered again")

    def recovered(self) -> None:
        """A call that was begun while it was open, without leave, was answered."""
        with self._lock:
            if self._state is not State.CLOSED:
                self._failing_since = None
                self._rest = FIRST_REST_SECONDS
                self._change(State.CLOSED, "answered again")

    def failed(self, reason: str) -> None:
        """A call was not answered, or with an error that the next one would get too."""
        with self._lock:
            if self._state is not State.OPEN:
                self._open(reason)

    def abandoned(self) -> None:
        """A call was given up before its end: it showed nothing, the next may probe."""
        with self._lock:
            if self._state is State.HALF_OPEN:
                self._state = State.OPEN
                self._opens_at = self._clock()

    def _rests(self) -> bool:
        if self._state is State.OPEN:
            return self._clock() < self._opens_at
        return self._state is State.HALF_OPEN

    def _open(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._wall_clock()
        # Half of it at least: a rest of nothing would be none.
        self._opens_at = self._clock() + self._rest * (0.5 + self._jitter() / 2)
        self._rest = min(LONGEST_REST_SECONDS, self._rest * 2)
        self._slow = 0
        self._change(State.OPEN, reason)

    def _change(self, state: State, reason: str) -> None:
        self._state = state
        self._on_change(state, reason)
