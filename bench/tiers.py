"""What a request costs in each tier: own memory, the fleet's, S3."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.errors import BenchError
from bench.fleet import NAME, replicas, valkey
from bench.measurement import Measurement, Outcome, Side, Spread, at_most
from bench.wrk import BROWSER_FIELDS

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.plan import Plan

# Answers that come a little too early find the tier not written yet: of a hundred, one.
_ALLOWED_GETS = 1.01


@dataclass(slots=True)
class _Runs:
    """One measurement a pair of each kind of request."""

    miss_alone: list[Measurement] = field(default_factory=list)
    miss: list[Measurement] = field(default_factory=list)
    l2: list[Measurement] = field(default_factory=list)
    l1: list[Measurement] = field(default_factory=list)
    gets: list[float] = field(default_factory=list)
    valkey_cpu: list[float] = field(default_factory=list)
    valkey_bytes: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tiers:
    """1 KiB, one request at a time: a miss on one replica, then the same key on another, twice.

    A replica of no fleet beside them tells what the second tier adds to a miss.
    """

    name: str = "l2"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """The kinds in turn, each with the same keys, other ones each time."""
        if NAME in plan.without:
            return []
        # Many, because the clock of processor time ticks every 10 ms.
        count = plan.first_bytes * 5
        runs = _Runs()
        with (
            valkey() as server,
            stage.s3proxy() as alone,
            replicas(stage, server, 2) as (first, second),
        ):
            numbers = itertools.count()
            for replica in (alone, first, second):
                _asked(replica, f"/numbered/tiers-warm-{replica.port}-", 50)
            for _ in range(plan.pairs):
                prefix = f"/numbered/tiers-{next(numbers)}-"
                runs.miss_alone.append(_asked(alone, prefix, count))
                before, entries, memory = (
                    stage.origin.requests(),
                    int(server.client.dbsize()),
                    server.memory(),
                )
                runs.miss.append(_asked(first, prefix, count))
                server.wait_for_entries(entries + count)
                runs.valkey_bytes.append((server.memory() - memory) / count)
                cpu = server.cpu_seconds()
                runs.l2.append(_asked(second, prefix, count))
                runs.valkey_cpu.append((server.cpu_seconds() - cpu) / count)
                runs.gets.append((stage.origin.requests() - before - 1) / count)
                runs.l1.append(_asked(second, prefix, count))
        if Spread.of(runs.gets).median > _ALLOWED_GETS:
            raise BenchError(
                f"two replicas made {Spread.of(runs.gets).median:.2f} GETs for each object: "
                "what one has fetched, the other has fetched again"
            )
        return self._outcomes(runs)

    def _outcomes(self, runs: _Runs) -> list[Outcome]:
        sides = (
            Side.of("L1 hit", runs.l1),
            Side.of("L2 hit", runs.l2),
            Side.of("miss, tier", runs.miss),
            Side.of("miss, alone", runs.miss_alone),
        )
        return [
            Outcome(
                self.name,
                "L2 hit, 1 KiB, one at a time: p50",
                "ms",
                Spread.of(run.p50 * 1e3 for run in runs.l2),
                sides=sides,
            ),
            _ratio(f"{self.name}/by-l1", "L2 hit, processor time", "× L1 hit", runs.l2, runs.l1),
            _ratio(f"{self.name}/by-miss", "L2 hit, processor time", "× miss", runs.l2, runs.miss),
            Outcome(
                f"{self.name}/added",
                "time that the second tier adds to a miss, p50",
                "ms",
                Spread.of(
                    (a.p50 - b.p50) * 1e3 for a, b in zip(runs.miss, runs.miss_alone, strict=True)
                ),
            ),
            Outcome(
                f"{self.name}/gets",
                "origin GETs for an object that two replicas are asked for",
                "GETs",
                Spread.of(runs.gets),
                at_most(_ALLOWED_GETS),
            ),
            Outcome(
                f"{self.name}/valkey-cpu",
                "Valkey's processor time for an L2 hit",
                "µs",
                Spread.of(seconds * 1e6 for seconds in runs.valkey_cpu),
            ),
            Outcome(
                f"{self.name}/valkey-memory",
                "Valkey's memory for a 1 KiB object",
                "B",
                Spread.of(runs.valkey_bytes),
            ),
        ]


def _ratio(
    name: str, title: str, unit: str, ours: list[Measurement], theirs: list[Measurement]
) -> Outcome:
    cost = [run.cpu_per_request for run in ours], [run.cpu_per_request for run in theirs]
    return Outcome(name, title, unit, Spread.of_ratios(*cost))


def _asked(server: Contestant, prefix: str, count: int) -> Measurement:
    """Ask for each of ``count`` keys once, over one connection."""
    cpu, started = server.process.cpu_seconds(), time.perf_counter()
    with Connection(server.port) as connection:
        times = [
            connection.time_to_first_byte(f"{prefix}{number}", BROWSER_FIELDS)
            for number in range(count)
        ]
    seconds = time.perf_counter() - started
    return Measurement.of_times(
        times,
        seconds=seconds,
        received=0,
        # A tick of the clock at least: no request is free.
        cpu_seconds=max(server.process.cpu_seconds() - cpu, 0.01),
        memory=server.process.memory(),
    )
