"""Values of a benchmark: what was measured, how it spreads, what was hoped for."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run against one server; latencies in seconds, memory in bytes.

    ``cpu`` is how much of its core the server used: well below 1, and it was not the server
    that limited the rate.
    """

    requests: int
    seconds: float
    received: int
    p50: float
    p99: float
    p999: float
    cpu: float
    memory: int

    @classmethod
    def of_times(
        cls,
        times: Sequence[float],
        *,
        seconds: float,
        received: int,
        cpu_seconds: float,
        memory: int,
    ) -> Self:
        """Of requests that took these times, at least one, in any order."""
        ordered = sorted(times)
        return cls(
            requests=len(ordered),
            seconds=seconds,
            received=received,
            p50=percentile(ordered, 0.5),
            p99=percentile(ordered, 0.99),
            p999=percentile(ordered, 0.999),
            cpu=cpu_seconds / seconds,
            memory=memory,
        )

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_per_request(self) -> float:
        """Seconds of processor time."""
        return self.cpu * self.seconds / self.requests if self.requests else 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the sorted values are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Raises ValueError where there is nothing to take a median of."""
        found = sorted(values)
        if not found:
            raise ValueError("no values")
        return cls(statistics.median(found), found[0], found[-1])

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Self:
        """Pair by pair, so that what slows both for a while does not count."""
        return cls.of(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Target:
    """Where the median should be."""

    kind: Literal["at least", "at most"]
    value: float

    def reached_by(self, value: float) -> bool:
        """Is ``value`` on the right side?"""
        return value >= self.value if self.kind == "at least" else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.value:g}"


def at_least(value: float) -> Target:
    """The more, the better."""
    return Target("at least", value)


def at_most(value: float) -> Target:
    """The less, the better."""
    return Target("at most", value)


@dataclass(frozen=True, slots=True)
class Side:
    """The medians of one server's runs; the units are `Measurement`'s."""

    name: str
    rate: float
    p50: float
    p99: float
    p999: float
    cpu: float
    cpu_per_request: float
    memory: int

    @classmethod
    def of(cls, name: str, runs: Sequence[Measurement]) -> Self:
        """Each number's own median."""

        def median(values: Iterable[float]) -> float:
            return statistics.median(values)

        return cls(
            name,
            rate=median(run.rate for run in runs),
            p50=median(run.p50 for run in runs),
            p99=median(run.p99 for run in runs),
            p999=median(run.p999 for run in runs),
            cpu=median(run.cpu for run in runs),
            cpu_per_request=median(run.cpu_per_request for run in runs),
            memory=max(run.memory for run in runs),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A line of the report. ``unit`` is × for a ratio of ours to theirs, more being better."""

    name: str
    title: str
    unit: str
    value: Spread
    target: Target | None = None
    sides: tuple[Side, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def is_ratio(self) -> bool:
        return self.unit == "×"

    @property
    def ratio_by_cpu(self) -> float | None:
        """Their processor time of a request by ours, which other programs disturb less."""
        if not self.is_ratio or len(self.sides) != 2:
            return None
        ours, theirs = self.sides
        return theirs.cpu_per_request / ours.cpu_per_request if ours.cpu_per_request else None

    @property
    def reached(self) -> bool | None:
        """None where there is no target."""
        return None if self.target is None else self.target.reached_by(self.value.median)
