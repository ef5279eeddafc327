"""What a hit costs when much more is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.errors import BenchError
from bench.hits import all_hits, alternate, ratio_of_rates
from bench.measurement import Outcome, Spread, at_least, at_most
from bench.prefilled import PREFIX
from bench.wrk import BROWSER_FIELDS, Numbered, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.measurement import Measurement
    from bench.plan import Plan

_FEW = 1_000
_BODY_BYTES = 256
# What the store may take for an entry: bodies, bookkeeping and room to spare.
_ALLOWED_BYTES = 3 * 1024
_LEAST_BYTES = 512 << 20
# The store is filled at ten thousand entries a second and more.
_FILLING_SECONDS = 180.0
# Within 15 %: a rate of 1 / 1.15.
_TARGET_RATE = 0.87
_TARGET_BOOKKEEPING_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Entries:
    """Small hits with many entries stored, against the same with a thousand.

    Once for the same thousand objects, where the store's size alone differs, and once spread
    evenly over all of them, where hardly any request is like one before.
    """

    name: str = "entries"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Rate, slowest answers and memory."""
        environ = {
            "CACHE_CAPACITY": str(plan.entries),
            "CACHE_MAX_BYTES": str(max(_LEAST_BYTES, plan.entries * _ALLOWED_BYTES)),
        }
        with (
            stage.prefilled(environ, plan.entries, _BODY_BYTES, _FILLING_SECONDS) as large,
            stage.prefilled(environ, _FEW, _BODY_BYTES, _FILLING_SECONDS) as small,
        ):
            spread = _asking(stage, large, plan.entries)
            same = _asking(stage, large, _FEW)
            few = _asking(stage, small, _FEW)
            bookkeeping = (large.process.memory() - small.process.memory()) / (
                plan.entries - _FEW
            ) - _BODY_BYTES
            outcomes = []
            for asking, name, what in (
                (same, self.name, f"the same {_FEW:,} objects"),
                (spread, f"{self.name}/spread", "spread evenly"),
            ):
                asking.drive(large.port, large.process, plan.warmup)
                few.drive(small.port, small.process, plan.warmup)
                ours, theirs = alternate(
                    plan.pairs,
                    lambda asking=asking: all_hits(stage.origin, asking, large, plan.seconds),  # type: ignore[misc]
                    lambda: all_hits(stage.origin, few, small, plan.seconds),
                )
                outcomes += _compared(name, what, plan.entries, ours, theirs)
        return [
            *outcomes,
            Outcome(
                f"{self.name}/bookkeeping",
                "memory for an entry beside its body",
                "B",
                Spread.of([bookkeeping]),
                at_most(_TARGET_BOOKKEEPING_BYTES),
            ),
        ]


def _compared(
    name: str, what: str, entries: int, ours: list[Measurement], theirs: list[Measurement]
) -> list[Outcome]:
    slowest = Spread.of(run.p999 * 1e3 for run in theirs).median
    return [
        ratio_of_rates(
            name,
            f"hit, {_BODY_BYTES} B, {what}, {entries:,} entries ÷ {_FEW:,}",
            (f"{entries:,} entries", ours),
            (f"{_FEW:,} entries", theirs),
            at_least(_TARGET_RATE),
        ),
        Outcome(
            f"{name}/p99.9",
            f"hit, {_BODY_BYTES} B, {what}, {entries:,} entries: p99.9",
            "ms",
            Spread.of(run.p999 * 1e3 for run in ours),
            notes=(f"{slowest:.2f} ms with {_FEW:,} entries",),
        ),
    ]


def _asking(stage: Stage, proxy: Contestant, count: int) -> Wrk:
    """What asks for ``count`` objects evenly; raises BenchError where they are not in memory."""
    with Connection(proxy.port) as connection:
        for number in (0, count // 2, count - 1):
            head, body = connection.get(f"/{PREFIX}{number}", BROWSER_FIELDS)
            if head.fields.get("x-cache") != "HIT" or int(body) != number:
                raise BenchError(f"entry {number} of {count} is not in memory")
    path = stage.folder / f"entries-{count}.lua"
    path.write_text(script(Numbered(f"/{PREFIX}", count), BROWSER_FIELDS))
    return Wrk(path, (stage.cores.client,))
