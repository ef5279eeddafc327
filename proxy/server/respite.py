"""How long to wait before another worker takes the place of those that died."""

from __future__ import annotations

_EARLY_SECONDS = 5.0
_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 5.0
_FORGOTTEN_SECONDS = 60.0


class Respite:
    """None after a worker that served a while; longer each time that one died soon.

    ``until`` is the time, in seconds on the caller's clock, before which none should be started.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.deaths = 0
        self._early = 0
        self._last = 0.0

    def died(self, now: float, age: float) -> None:
        """A worker died ``age`` seconds after its start."""
        self.deaths += 1
        if age >= _EARLY_SECONDS or now - self._last > _FORGOTTEN_SECONDS:
            self._early = 0
        self._last = now
        # Several at once have one cause, and count as one.
        if age < _EARLY_SECONDS and now >= self.until:
            self.until = now + min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**self._early)
            self._early += 1
