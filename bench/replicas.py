"""Several replicas at once: hits, and how long a purge takes from one to another."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.client import Connection, fetch_all
from bench.errors import BenchError
from bench.fleet import NAME, replicas, valkey
from bench.hits import alternate
from bench.measurement import Measurement, Outcome, Side, Spread, at_most, percentile
from bench.purges import SentPurge, Versions
from bench.workers import SHARED_CORES, by_rate_and_cost
from bench.wrk import BROWSER_FIELDS, Fixed, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.plan import Plan

_COUNTS = (2, 3)
_MOST = max(_COUNTS)
_KEY = "hit-1024"
_LIMIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """1 KiB hits by one, two and three replicas of a fleet, each asked by a client of its own.

    Beside them a server of no fleet, with which one replica is compared.
    """

    name: str = "replicas"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """So many at once as are counted, the others idle."""
        if NAME in plan.without:
            return []
        stage.origin.put(_KEY, 1024)
        path = stage.folder / "replicas.lua"
        path.write_text(script(Fixed(f"/{_KEY}"), BROWSER_FIELDS))
        cores = stage.cores
        client = Wrk(path, cores.clients)
        outcomes = []
        with (
            valkey() as server,
            stage.s3proxy(cores=cores.servers) as alone,
            replicas(stage, server, _MOST, cores.servers) as fleet,
        ):
            for one in (alone, *fleet):
                fetch_all(one.port, [f"/{_KEY}"], BROWSER_FIELDS)
                client.drive(one.port, one.process, plan.warmup)
            for count, base, base_name in (
                (1, alone, "no fleet"),
                *((count, fleet[0], "1 replica") for count in _COUNTS),
            ):
                driven = fleet[:count]
                before = stage.origin.requests()
                many, single = alternate(
                    plan.pairs,
                    lambda driven=driven: _together(client, driven, plan.seconds),  # type: ignore[misc]
                    lambda base=base: _together(client, [base], plan.seconds),  # type: ignore[misc]
                )
                if stage.origin.requests() - before > 1:
                    raise BenchError("replicas asked the origin for what they had in memory")
                title = f"{count} replica{'s' if count > 1 else ''}"
                outcomes += by_rate_and_cost(
                    f"{self.name}-{count}",
                    f"hit, 1 KiB, {title}",
                    "a server alone" if count == 1 else "one replica",
                    count,
                    (many, single),
                    (Side.of(title, many), Side.of(base_name, single)),
                    None,
                    apart=cores.apart and len(cores.servers) >= count,
                    notes=() if cores.apart or count > 1 else (SHARED_CORES,),
                )
        return outcomes


def _together(client: Wrk, servers: list[Contestant], seconds: int) -> Measurement:
    """Drive all at the same time, and see them as one."""
    with ThreadPoolExecutor(len(servers)) as clients:
        return combined(
            list(
                clients.map(
                    lambda server: client.drive(server.port, server.process, seconds), servers
                )
            )
        )


def combined(runs: list[Measurement]) -> Measurement:
    """Servers that ran side by side as one: latencies are those of the slowest."""
    # A run is over when its last answer is in, so that lengths differ by a little.
    seconds = max(run.seconds for run in runs)
    return replace(
        runs[0],
        requests=sum(run.requests for run in runs),
        seconds=seconds,
        received=sum(run.received for run in runs),
        p50=max(run.p50 for run in runs),
        p99=max(run.p99 for run in runs),
        p999=max(run.p999 for run in runs),
        cpu=sum(run.cpu * run.seconds for run in runs) / seconds,
        memory=sum(run.memory for run in runs),
    )


@dataclass(frozen=True, slots=True)
class PurgeOverReplicas:
    """Time from the acknowledgement by one replica until another serves the new version."""

    name: str = "purge-replicas"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """One purge after the other; the other replica is asked again and again meanwhile."""
        if NAME in plan.without:
            return []
        versions = Versions(stage.origin, "fresh/replicas")
        times, polls, stale = [], 0, 0
        with (
            valkey() as server,
            replicas(stage, server, 2) as (here, there),
            ExitStack() as opened,
        ):
            purged, own, other = (
                opened.enter_context(Connection(replica.port)) for replica in (here, here, there)
            )
            versions.next()
            purge = SentPurge(purged, versions.key)
            for connection in (own, other):
                if not versions.is_newest(connection):
                    raise BenchError("a replica that has just started serves something old")
            for _ in range(plan.purges):
                versions.next()
                purge.send()
                acknowledged = time.perf_counter()
                while True:
                    asked = time.perf_counter()
                    polls += 1
                    if versions.is_newest(other):
                        break
                    if asked - acknowledged > _LIMIT_SECONDS:
                        raise BenchError(
                            f"{_LIMIT_SECONDS:g} s after a purge on one replica another "
                            "serves what was purged"
                        )
                # When the first question with a new answer was put: the answer itself may take
                # the way to the origin.
                times.append((asked - acknowledged) * 1e3)
                stale += not versions.is_newest(own)
        times.sort()
        about = f"{plan.purges:,} purges, {polls:,} questions"
        return [
            Outcome(
                self.name,
                "purge to another replica, p50",
                "ms",
                Spread(percentile(times, 0.5), times[0], times[-1]),
                notes=(about,),
            ),
            Outcome(
                f"{self.name}/p99",
                "purge to another replica, p99",
                "ms",
                Spread(percentile(times, 0.99), times[0], times[-1]),
            ),
            Outcome(
                f"{self.name}/stale",
                "stale answers of the replica that acknowledged a purge",
                "answers",
                Spread.of([stale]),
                at_most(0),
            ),
        ]
