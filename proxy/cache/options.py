"""The OPTIONS of a cache, read strictly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

Clock = Callable[[], float]


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value


def _window(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _callable(value: Any) -> Clock:
    clock: Clock = import_string(value) if isinstance(value, str) else value
    if not callable(clock):
        raise ValueError  # noqa: TRY004 - caught in parse(), where the message is written
    return clock


_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "MAX_ENTRIES": (_count, "a whole number above 0"),
    "MAX_BYTES": (_count, "a whole number above 0"),
    "PROCESSES": (_count, "a whole number above 0"),
    "STALE_TIMEOUT": (_window, "a number of seconds from 0 up, or None (until evicted)"),
    "CLOCK": (_callable, "a callable that takes nothing, or the dotted path to one"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What OPTIONS said. Times in seconds; a ``stale_timeout`` of None is until evicted."""

    max_entries: int = 2048
    max_bytes: int = 512 * 1024 * 1024
    processes: int = 1
    stale_timeout: float | None = 0
    # Nothing stored outlives the processes of one machine, which have this clock in common, so
    # deadlines need no calendar; a wall clock that is set back or forth must neither revive nor
    # drop what is stored.
    clock: Clock = time.monotonic

    @property
    def bounds(self) -> tuple[int, int, int, Clock]:
        """What all instances of one LOCATION have to agree on."""
        return self.max_entries, self.max_bytes, self.processes, self.clock

    @classmethod
    def parse(cls, location: str, options: object) -> Options:
        """Raises ImproperlyConfigured, naming every bad option with what would be right."""
        if not isinstance(options, Mapping):
            raise ImproperlyConfigured(
                f"OPTIONS of the cache with LOCATION {location!r} should be a dict, not {options!r}"
            )
        fields: dict[str, Any] = {}
        problems = []
        for name, value in options.items():
            if name not in _RULES:
                problems.append(f"{name!r} is no option, those are {', '.join(_RULES)}")
                continue
            parsed, expected = _RULES[name]
            try:
                fields[name.lower()] = parsed(value)
            except (ValueError, ImportError):
                problems.append(f"{name}={value!r} should be {expected}")
        if problems:
            raise ImproperlyConfigured(
                f"OPTIONS of the cache with LOCATION {location!r}: {'; '.join(problems)}"
            )
        return cls(**fields)
