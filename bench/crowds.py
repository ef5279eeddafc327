"""Many clients that want the same cold object at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import crowd
from bench.errors import BenchError
from bench.measurement import Outcome, Spread, at_least, at_most
from bench.plan import MIB

if TYPE_CHECKING:
    from bench.contestants import Stage
    from bench.plan import Plan

_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """Simultaneous requests for one cold 1 MiB key."""

    name: str = "crowd"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Each time with another key."""
        fetches, whole = [], []
        notes: Counter[str] = Counter()
        with stage.s3proxy() as proxy:
            for number in range(plan.starts):
                key = f"counted/cold-{number}"
                body = stage.origin.put(key, MIB)
                faults = asyncio.run(_bounded_crowd(proxy.port, f"/{key}", plan.crowd, body))
                fetches.append(float(stage.origin.counted(key)))
                whole.append(float(faults.count("")))
                notes.update(fault for fault in faults if fault)
        clients = f"{plan.crowd:,} at once for a cold 1 MiB key"
        return [
            Outcome(self.name, f"{clients}: origin GETs", "GETs", Spread.of(fetches), at_most(1)),
            Outcome(
                f"{self.name}/whole",
                f"{clients}: whole answers",
                "answers",
                # Every time counts here, not the one in the middle.
                Spread(min(whole), min(whole), max(whole)),
                at_least(plan.crowd),
                notes=tuple(f"{count} times: {fault}" for fault, count in notes.most_common(3)),
            ),
        ]


async def _bounded_crowd(port: int, target: str, size: int, body: bytes) -> list[str]:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return list(await crowd(port, target, size, body))
    except TimeoutError:
        raise BenchError(f"{size} clients were not served in {_LIMIT_SECONDS:g} s") from None
