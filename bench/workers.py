"""What a second worker of one server is worth, and whether purges reach it at once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import Connection, fetch_all
from bench.errors import BenchError
from bench.hits import all_hits, alternate
from bench.measurement import Outcome, Side, Spread, at_least, at_most
from bench.purges import SentPurge, Versions
from bench.wrk import BROWSER_FIELDS, Fixed, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.measurement import Measurement
    from bench.plan import Plan

_WORKERS = 2
_TARGET = 1.7
_KEY = "hit-1024"
# So many that each worker has some of them.
_CONNECTIONS = 32
_ROUNDS_OF_WARMTH = 100
# Of all processor time, at least this for a worker to have had a part in the work.
_PART = 0.02
SHARED_CORES = (
    "client, origin and servers share the cores, so that the rates say little; the ratio by "
    "processor time is an estimate: who waits for a core takes more requests at each wake-up and "
    "pays less for each, who shares processor caches pays more. Near the number of servers, or "
    "above, it means that they do not hinder each other"
)


@dataclass(frozen=True, slots=True)
class Workers:
    """1 KiB hits by two workers, against one; each may run on every core that servers may."""

    name: str = "workers"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Requests a second, and what counts where the client shares the cores: their cost."""
        stage.origin.put(_KEY, 1024)
        path = stage.folder / "workers.lua"
        path.write_text(script(Fixed(f"/{_KEY}"), BROWSER_FIELDS))
        cores = stage.cores
        client = Wrk(path, cores.clients, threads=2 if cores.apart else 1)
        with ExitStack() as running:
            one, two = (
                running.enter_context(
                    stage.s3proxy({"WEB_CONCURRENCY": str(workers)}, cores=cores.servers)
                )
                for workers in (1, _WORKERS)
            )
            two.process.wait_for_children(_WORKERS)
            for server in (one, two):
                fetch_all(server.port, [f"/{_KEY}"] * _CONNECTIONS, BROWSER_FIELDS)
                client.drive(server.port, server.process, plan.warmup)
            before = two.process.cpu_seconds_by_pid()
            many, single = alternate(
                plan.pairs,
                lambda: all_hits(stage.origin, client, two, plan.seconds),
                lambda: all_hits(stage.origin, client, one, plan.seconds),
            )
            busiest = max(_parts(before, two.process.cpu_seconds_by_pid()).values())
        notes = [f"the busier worker had {busiest:.0%} of the processor time"]
        if not cores.apart:
            notes.append(SHARED_CORES)
        sides = (Side.of(f"{_WORKERS} workers", many), Side.of("1 worker", single))
        return by_rate_and_cost(
            self.name,
            f"hit, 1 KiB, {_WORKERS} workers",
            "one worker",
            _WORKERS,
            (many, single),
            sides,
            _TARGET,
            apart=cores.apart,
            notes=tuple(notes),
        )


def by_rate_and_cost(
    name: str,
    title: str,
    unit: str,
    count: int,
    runs: tuple[list[Measurement], list[Measurement]],
    sides: tuple[Side, ...],
    target: float | None,
    *,
    apart: bool,
    notes: tuple[str, ...] = (),
) -> list[Outcome]:
    """``count`` servers by one, in requests a second and in processor time a request.

    The target is for the rates where the servers have cores of their own (``apart``), else for
    the cost: that of one by that of many, times ``count``, which is the ratio of the rates on as
    many cores.
    """
    many, single = runs
    wanted = None if target is None else at_least(target)
    rates = Spread.of_ratios([run.rate for run in many], [run.rate for run in single])
    costs = Spread.of(
        count * value
        for value in (
            b.cpu_per_request / a.cpu_per_request for a, b in zip(many, single, strict=True)
        )
    )
    return [
        Outcome(
            name,
            f"{title}: requests a second",
            f"× {unit}",
            rates,
            wanted if apart else None,
            sides,
            notes,
        ),
        Outcome(
            f"{name}/by-cpu",
            f"{title}: on a core each, by processor time",
            f"× {unit}",
            costs,
            None if apart else wanted,
        ),
    ]


@dataclass(frozen=True, slots=True)
class PurgeOverWorkers:
    """Stale answers of any worker after a purge was acknowledged: there must be none."""

    name: str = "purge-workers"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Connections to all workers, one purge after the other."""
        versions = Versions(stage.origin, "fresh/workers")
        stale = answers = 0
        with (
            stage.s3proxy({"WEB_CONCURRENCY": str(_WORKERS)}, cores=stage.cores.servers) as server,
            ExitStack() as opened,
        ):
            server.process.wait_for_children(_WORKERS)
            versions.next()
            connections = [
                opened.enter_context(Connection(server.port)) for _ in range(_CONNECTIONS)
            ]
            _see_all_workers(server, connections, versions)
            purge = SentPurge(opened.enter_context(Connection(server.port)), versions.key)
            for _ in range(plan.purges):
                versions.next()
                purge.send()
                for connection in connections:
                    stale += not versions.is_newest(connection)
                    answers += 1
        return [
            Outcome(
                self.name,
                f"purge over {_WORKERS} workers: stale answers after it",
                "answers",
                Spread.of([stale]),
                at_most(0),
                notes=(f"of {answers:,}, after {plan.purges:,} purges",),
            )
        ]


def _see_all_workers(server: Contestant, connections: list[Connection], versions: Versions) -> None:
    """Raises BenchError unless each worker has some of the connections."""
    before = server.process.cpu_seconds_by_pid()
    for _ in range(_ROUNDS_OF_WARMTH):
        for connection in connections:
            versions.is_newest(connection)
    parts = _parts(before, server.process.cpu_seconds_by_pid())
    busy = sum(part >= _PART for part in parts.values())
    if busy < _WORKERS:
        raise BenchError(f"{len(connections)} connections reached {busy} worker of {_WORKERS}")


def _parts(before: dict[int, float], after: dict[int, float]) -> dict[int, float]:
    """Each process's part of the processor time that all have used in between."""
    used = {pid: after[pid] - before.get(pid, 0.0) for pid in after}
    total = sum(used.values())
    return {pid: seconds / total if total else 0.0 for pid, seconds in used.items()}
