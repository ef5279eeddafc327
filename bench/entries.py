"""What a hit costs when much more is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import fetch_all
from bench.hits import all_hits, alternate, numbered_objects, ratio_of_rates
from bench.measurement import Outcome, Spread, at_least, at_most
from bench.wrk import BROWSER_FIELDS, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.plan import Plan

_FEW = 1_000
_BODY_BYTES = 1024
# Within 15 %: a rate of 1 / 1.15.
_TARGET_RATE = 0.87
_TARGET_BOOKKEEPING_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Entries:
    """1 KiB hits spread evenly over many entries, against the same over a thousand."""

    name: str = "entries"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Rate, slowest answers and memory."""
        environ = {"CACHE_CAPACITY": str(2 * plan.entries), "CACHE_MAX_BYTES": "8GiB"}
        with stage.s3proxy(environ) as large, stage.s3proxy(environ) as small:
            many = _fill(stage, large, plan.entries)
            few = _fill(stage, small, _FEW)
            bookkeeping = (large.process.memory() - small.process.memory()) / (
                plan.entries - _FEW
            ) - _BODY_BYTES
            many.drive(large.port, large.process, plan.warmup)
            few.drive(small.port, small.process, plan.warmup)
            ours, theirs = alternate(
                plan.pairs,
                lambda: all_hits(stage.origin, many, large, plan.seconds),
                lambda: all_hits(stage.origin, few, small, plan.seconds),
            )
        count = f"{plan.entries:,} entries"
        slowest = Spread.of(run.p999 * 1e3 for run in theirs).median
        return [
            ratio_of_rates(
                self.name,
                f"hit, 1 KiB, {count} ÷ {_FEW:,}",
                (count, ours),
                (f"{_FEW:,} entries", theirs),
                at_least(_TARGET_RATE),
            ),
            Outcome(
                f"{self.name}/p99.9",
                f"hit, 1 KiB, {count}: p99.9",
                "ms",
                Spread.of(run.p999 * 1e3 for run in ours),
                notes=(f"{slowest:.2f} ms with {_FEW:,} entries",),
            ),
            Outcome(
                f"{self.name}/bookkeeping",
                "memory for an entry beside its body",
                "B",
                Spread.of([bookkeeping]),
                at_most(_TARGET_BOOKKEEPING_BYTES),
            ),
        ]


def _fill(stage: Stage, proxy: Contestant, count: int) -> Wrk:
    """Store ``count`` objects; what then asks for them."""
    objects = numbered_objects(count)
    fetch_all(proxy.port, objects.stored, BROWSER_FIELDS)
    path = stage.folder / f"entries-{count}.lua"
    path.write_text(script(objects.asked, BROWSER_FIELDS))
    return Wrk(path, stage.cores.client)
