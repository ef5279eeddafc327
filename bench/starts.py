"""How long it takes from the command to the first answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.errors import BenchError
from bench.measurement import Outcome, Spread, at_most
from bench.wrk import BROWSER_FIELDS

if TYPE_CHECKING:
    from bench.contestants import Stage
    from bench.plan import Plan

_TARGET_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Start:
    """`serve` to the first object, fetched from the origin."""

    name: str = "start"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Start it again and again."""
        times = []
        for _ in range(plan.starts):
            started = time.perf_counter()
            with stage.s3proxy() as proxy, Connection(proxy.port) as connection:
                head, _ = connection.get("/1k", BROWSER_FIELDS)
                times.append(time.perf_counter() - started)
            if head.status != 200:
                raise BenchError(f"the first answer is {head.status}")
        title = "`serve` to the first answer"
        return [Outcome(self.name, title, "s", Spread.of(times), at_most(_TARGET_SECONDS))]
