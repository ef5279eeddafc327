"""Requests that the origin has to answer."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.contestants import BUCKET, s3proxy_environ
from bench.errors import BenchError
from bench.hits import alternate, ratio_of_rates
from bench.measurement import Measurement, Outcome, Spread, at_least, at_most
from bench.processes import Process
from bench.wrk import BROWSER_FIELDS, Numbered, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.plan import Plan

_CONNECTIONS = 64
_TARGET_RATE = 0.6
_TARGET_ADDED_MILLISECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Misses:
    """1 KiB, each key asked for once, against a loop that only signs and fetches."""

    name: str = "miss-1k"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """The loop gets as many requests at a time as the proxy has connections."""
        numbers = itertools.count()
        with stage.s3proxy() as proxy:
            _through_proxy(stage, proxy, next(numbers), plan.warmup)
            ours, theirs = alternate(
                plan.pairs,
                lambda: _through_proxy(stage, proxy, next(numbers), plan.seconds),
                lambda: _bare(stage, next(numbers), plan.seconds),
            )
        return [
            ratio_of_rates(
                self.name,
                "miss, 1 KiB, distinct keys ÷ bare SigV4 + aiohttp loop",
                (proxy.name, ours),
                ("bare loop", theirs),
                at_least(_TARGET_RATE),
            )
        ]


def _through_proxy(stage: Stage, proxy: Contestant, run: int, seconds: int) -> Measurement:
    # A prefix of its own, so that no run finds what another has stored.
    path = stage.folder / f"miss-{run}.lua"
    path.write_text(script(Numbered(f"/numbered/{run}/"), BROWSER_FIELDS))
    before = stage.origin.requests()
    measured = Wrk(path, (stage.cores.client,), _CONNECTIONS).drive(
        proxy.port, proxy.process, seconds
    )
    asked = stage.origin.requests() - before - 1
    if asked < measured.requests:
        raise BenchError(f"{measured.requests} misses, but {asked} requests at the origin")
    return measured


def _bare(stage: Stage, run: int, seconds: int) -> Measurement:
    log = stage.folder / f"bare-{run}.log"
    command = [
        sys.executable, "-m", "bench.bare_origin_loop", str(stage.origin.port),
        f"/{BUCKET}/numbered/{run}/", str(_CONNECTIONS), str(seconds),
    ]  # fmt: skip
    environ = s3proxy_environ(stage.origin.port, 0)
    with Process(command, cores=(stage.cores.server,), log=log, environ=environ) as process:
        process.wait(seconds + 30)
    return Measurement(**json.loads(log.read_text()))


@dataclass(frozen=True, slots=True)
class FirstByte:
    """What the proxy adds to the time to first byte of a miss, one request at a time."""

    name: str = "first-byte"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Direct and through the proxy in turn, on connections that are open already."""
        numbers = itertools.count()
        added, direct_times, proxy_times = [], [], []
        with (
            stage.s3proxy() as proxy,
            Connection(stage.origin.port) as direct,
            Connection(proxy.port) as through,
        ):

            def median(connection: Connection, prefix: str, count: int) -> float:
                return statistics.median(
                    connection.time_to_first_byte(
                        f"{prefix}/numbered/first-{next(numbers)}", BROWSER_FIELDS
                    )
                    for _ in range(count)
                )

            median(through, "", 20)
            median(direct, f"/{BUCKET}", 20)
            for _ in range(plan.pairs):
                through_time = median(through, "", plan.first_bytes)
                direct_time = median(direct, f"/{BUCKET}", plan.first_bytes)
                proxy_times.append(through_time)
                direct_times.append(direct_time)
                added.append((through_time - direct_time) * 1e3)
        return [
            Outcome(
                self.name,
                "time to first byte added on a miss, p50",
                "ms",
                Spread.of(added),
                at_most(_TARGET_ADDED_MILLISECONDS),
                notes=(
                    (
                        f"p50 {statistics.median(proxy_times) * 1e3:.3f} ms through the proxy, "
                        f"{statistics.median(direct_times) * 1e3:.3f} ms direct"
                    ),
                ),
            )
        ]
