"""How many origin requests there are at once, with a bounded line for those that must wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from proxy import metrics
from proxy.origin.errors import AbandonedError, SaturatedError

if TYPE_CHECKING:
    from collections.abc import Callable

# How many may wait for each that is under way.
WAITING_PER_PLACE = 4
# A response whose reader has kept it waiting for longer gives its place to whoever waits in line.
PATIENCE_SECONDS = 1.0
# How often the line is looked at while there is one.
_LOOK_SECONDS = 0.1


class Place:
    """A place among the requests under way. Must be released; more than once is harmless."""

    __slots__ = ("_admission", "_released", "_take_back")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._released = False
        self._take_back: Callable[[], None] | None = None

    def release(self) -> None:
        """Let the next one in."""
        if not self._released:
            self._released = True
            self._admission._release(self)  # noqa: SLF001 - two halves of one thing

    def wait_for_reader(self, take_back: Callable[[], None]) -> None:
        """Say that the origin waits for a reader; ``take_back`` ends the request meanwhile."""
        if not self._released:
            self._take_back = take_back
            self._admission._held_back[self] = time.monotonic()  # noqa: SLF001

    def go_on(self) -> None:
        """Say that the reader has come back."""
        self._take_back = None
        self._admission._held_back.pop(self, None)  # noqa: SLF001

    def take_back(self) -> None:
        """Give the place to somebody else."""
        take_back = self._take_back
        self.go_on()
        if take_back is not None:
            take_back()
        self.release()


class Admission:
    """At most ``limit`` places; at most four times as many wait, first come, first served.

    Nobody waits longer than ``longest_wait`` seconds.
    """

    def __init__(self, limit: int, longest_wait: float) -> None:
        self._limit = limit
        self._most_waiting = WAITING_PER_PLACE * limit
        self._longest_wait = longest_wait
        self._under_way = 0
        # In the order of their coming; each says whether it is still wanted.
        self._line: dict[asyncio.Future[None], Callable[[], bool]] = {}
        # Places whose origin waits for a reader, with when that began, the longest first.
        self._held_back: dict[Place, float] = {}
        self._look: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """How many places are taken."""
        return self._under_way

    @property
    def waiting(self) -> int:
        """How many wait in line."""
        return len(self._line)

    async def enter(self, wanted: Callable[[], bool], *, goes_on: bool = False) -> Place:
        """A place, perhaps after a wait.

        ``wanted`` says whether anybody still waits for the answer. With ``goes_on`` it is for the
        rest of a response that has begun, for which the line may be twice as long. Raises
        SaturatedError, AbandonedError.
        """
        if self._under_way < self._limit:
            self._under_way += 1
            metrics.origin_under_way.inc()
            return Place(self)
        if len(self._line) >= self._most_waiting * (2 if goes_on else 1):
            metrics.origin_refused["line_full"].inc()
            raise SaturatedError("too many requests wait for a connection to the origin")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[turn] = wanted
        metrics.origin_waiting.inc()
        self._look_after_line()
        try:
            async with asyncio.timeout(self._longest_wait):
                await turn
        except TimeoutError as exc:
            self._leave(turn)
            metrics.origin_refused["waited_too_long"].inc()
            raise SaturatedError(
                f"no connection to the origin was free within {self._longest_wait:g} s"
            ) from exc
        except BaseException:
            self._leave(turn)
            raise
        return Place(self)

    def _release(self, place: Place) -> None:
        place.go_on()
        while self._line:
            turn, wanted = next(iter(self._line.items()))
            self._take_out(turn)
            if turn.done():
                continue
            if wanted():
                # The place goes from hand to hand: nobody who comes now is served before.
                turn.set_result(None)
                return
            turn.set_exception(AbandonedError())
        self._under_way -= 1
        metrics.origin_under_way.dec()

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Whoever waited does no longer; a place given in the same moment goes to the next."""
        self._take_out(turn)
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            Place(self).release()

    def _take_out(self, turn: asyncio.Future[None]) -> None:
        if self._line.pop(turn, None) is not None:
            metrics.origin_waiting.dec()

    def _look_after_line(self) -> None:
        """Take back what waits for its reader, and send away whom nobody waits for; go on so."""
        if self._look is not None:
            return
        self._free_what_is_held_back()
        if self._line:
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        for turn, wanted in list(self._line.items()):
            if not wanted() and not turn.done():
                self._take_out(turn)
                turn.set_exception(AbandonedError())
        self._look_after_line()

    def _free_what_is_held_back(self) -> None:
        before = time.monotonic() - PATIENCE_SECONDS
        while self._line and self._held_back:
            place, since = next(iter(self._held_back.items()))
            if since > before:
                return
            place.take_back()
