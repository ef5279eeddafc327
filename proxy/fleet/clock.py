"""A clock that all replicas share: the Redis server's.

Replicas' own clocks may be minutes apart, and a response must never look younger than it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The server's time was asked for within BOUND_SECONDS, so each of two replicas may be off by half
# of that; a replica's own clock drifts less than the rest until it asks again.
UNCERTAINTY_SECONDS = 0.5


class FleetClock:
    """Runs on the monotonic clock from what the server said, so no wall clock can set it back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None

    def set(self, server_time: float, asked: float, answered: float) -> None:
        """Take the server's time, asked for and answered at these monotonic times."""
        self._ahead = server_time - (asked + answered) / 2

    def now(self) -> float | None:
        """Seconds since the epoch on the server's clock; None before it was asked for."""
        return None if self._ahead is None else self._ahead + self._monotonic()
