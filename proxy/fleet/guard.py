"""Bounds every call to Redis in time, through a circuit breaker."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from proxy.fleet.errors import FleetUnavailableError, is_full, reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.fleet.breaker import Breaker

# Connecting and the answer together. On a network of one machine hall an answer takes less than
# a millisecond; a request that waits longer than this is better served by the origin.
BOUND_SECONDS = 0.25
# An answer that took this part of its bound is a slow one.
_SLOW = 0.6

T = TypeVar("T")


class Guard:
    """``breaker`` is that of all calls; ``writes`` that of what needs memory on the server.

    A full server refuses writes and answers reads, so that only the former rest.
    """

    def __init__(self, breaker: Breaker, writes: Breaker, bound: float = BOUND_SECONDS) -> None:
        self.breaker = breaker
        self.writes = writes
        self.bound = bound

    async def call(self, make: Callable[[], Awaitable[T]], *, bound: float | None = None) -> T:
        """The answer to a call; raises FleetUnavailableError."""
        if not self.breaker.allows():
            raise FleetUnavailableError("Redis rests after a failure")
        return await self._bounded(make, self.bound if bound is None else bound, waits=False)

    async def write(self, make: Callable[[], Awaitable[T]], *, bound: float | None = None) -> T:
        """As call(), for what a full server refuses."""
        if self.writes.rests:
            raise FleetUnavailableError("Redis is full")
        answer = await self.call(make, bound=bound)
        if self.writes.allows():
            self.writes.succeeded()
        return answer

    async def insist(self, make: Callable[[], Awaitable[T]], *, bound: float) -> T:
        """As call() whether the breaker is open or not, for who has all the time to wait."""
        open_before = not self.breaker.allows()
        answer = await self._bounded(make, bound, waits=True)
        if open_before:
            self.breaker.recovered()
        return answer

    async def _bounded(self, make: Callable[[], Awaitable[T]], bound: float, *, waits: bool) -> T:
        began = time.monotonic()
        try:
            async with asyncio.timeout(bound):
                answer = await make()
        except asyncio.CancelledError:
            self.breaker.abandoned()
            raise
        except Exception as error:
            # Whatever library the cache is made with, its failures mean the same here.
            reason = reason_of(error)
            if is_full(error):
                self.breaker.succeeded()
                self.writes.failed(reason)
            else:
                self.breaker.failed(reason)
            raise FleetUnavailableError(reason) from error
        self.breaker.succeeded(slow=not waits and time.monotonic() - began > bound * _SLOW)
        return answer
