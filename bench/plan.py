"""How long and how often to measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Stage
    from bench.measurement import Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` is one run of one server, of which each pair has two.

    ``purges`` is how often one is measured. ``limit`` (seconds) bounds everything; ``without``
    names peers to leave out.
    """

    pairs: int
    seconds: int
    warmup: int
    objects: int
    entries: int
    first_bytes: int
    streamed: int
    streams_seconds: float
    crowd: int
    starts: int
    purges: int
    limit: int
    without: frozenset[str] = frozenset()


MIB = 1 << 20

DEFAULT = Plan(
    pairs=5, seconds=4, warmup=1, objects=10_000, entries=1_000_000, first_bytes=400,
    streamed=1024 * MIB, streams_seconds=10.0, crowd=1_000, starts=5, purges=200,
    limit=20 * 60,
)  # fmt: skip
FULL = Plan(
    pairs=9, seconds=6, warmup=2, objects=10_000, entries=1_000_000, first_bytes=1_000,
    streamed=1024 * MIB, streams_seconds=20.0, crowd=1_000, starts=9, purges=1_000,
    limit=90 * 60,
)  # fmt: skip
QUICK = Plan(
    pairs=1, seconds=1, warmup=1, objects=1_000, entries=50_000, first_bytes=50,
    streamed=256 * MIB, streams_seconds=2.0, crowd=1_000, starts=1, purges=20,
    limit=5 * 60,
)  # fmt: skip


class Workload(Protocol):
    """A row of the table of what is measured."""

    @property
    def name(self) -> str:
        """What `--only` takes."""

    def run(self, stage: Stage, plan: Plan) -> Sequence[Outcome]:
        """Measure; raises BenchError where a fair measurement was not possible."""
