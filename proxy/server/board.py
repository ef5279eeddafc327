"""What the workers of one server tell their parent, in memory that all of them share."""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass

_PID, _STATE, _STARTED, _BEAT, _CONNECTIONS = range(5)
# A cache line each, so that no worker's heartbeat slows down another's.
_ROW_WORDS = 8
_WORD_BYTES = 8
_NANOSECONDS = 10**9
# Of a worker that has been silent for so long, nothing is expected.
_LIVELY_SECONDS = 3.0


class State(enum.IntEnum):
    """What a worker is at."""

    STARTING = 1
    READY = 2
    DRAINING = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as the board has it; times are those of ``time.monotonic()``."""

    index: int
    pid: int
    state: State
    started: float
    heartbeat: float


class Board:
    """One row for each index, 1 to ``highest``.

    Every word has one writer at a time: the parent while there is no worker, then the worker.
    """

    def __init__(self, highest: int) -> None:
        self._highest = highest
        memory = mmap.mmap(-1, (highest + 1) * _ROW_WORDS * _WORD_BYTES)
        self._words = memoryview(memory).cast("Q")

    def announce(self, index: int, now: float) -> None:
        """A worker is about to be there; it counts as alive from ``now`` on."""
        row = index * _ROW_WORDS
        self._words[row + _STATE] = State.STARTING
        self._words[row + _STARTED] = self._words[row + _BEAT] = int(now * _NANOSECONDS)

    def sign(self, index: int, pid: int) -> None:
        """The worker is there."""
        self._words[index * _ROW_WORDS + _PID] = pid

    def enter(self, index: int, state: State) -> None:
        """The worker is at something else now."""
        self._words[index * _ROW_WORDS + _STATE] = state

    def beat(self, index: int, now: float) -> None:
        """The worker's event loop runs."""
        self._words[index * _ROW_WORDS + _BEAT] = int(now * _NANOSECONDS)

    def count(self, index: int, connections: int) -> None:
        """The worker has so many connections."""
        self._words[index * _ROW_WORDS + _CONNECTIONS] = connections

    def fewest_connections(self, now: float) -> int | None:
        """The fewest that any worker has who would take another; None without such."""
        lively_since = int((now - _LIVELY_SECONDS) * _NANOSECONDS)
        words = self._words
        return min(
            [
                words[row + _CONNECTIONS]
                for row in range(_ROW_WORDS, len(words), _ROW_WORDS)
                if words[row + _STATE] == State.READY and words[row + _BEAT] > lively_since
            ],
            default=None,
        )

    def wipe(self, index: int) -> None:
        """There is no such worker any more."""
        row = index * _ROW_WORDS
        for word in range(row, row + _ROW_WORDS):
            self._words[word] = 0

    def look(self, index: int) -> Seen | None:
        """The worker with an index; None where there is none."""
        pid, state, started, beat = self._words[index * _ROW_WORDS : index * _ROW_WORDS + 4]
        if not pid or not state:
            # None, or one that is just being wiped.
            return None
        return Seen(index, pid, State(state), started / _NANOSECONDS, beat / _NANOSECONDS)

    def workers(self) -> list[Seen]:
        """Every worker that there is, by index."""
        seen = (self.look(index) for index in range(1, self._highest + 1))
        return [worker for worker in seen if worker is not None]
