"""Objects too large to be stored: how fast they pass, how much memory they take."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.client import Connection
from bench.contestants import BUCKET
from bench.errors import BenchError
from bench.measurement import Measurement, Outcome, Side, Spread, at_least, at_most
from bench.plan import MIB

if TYPE_CHECKING:
    from bench.contestants import Contestant, Stage
    from bench.plan import Plan

_TARGET_RATE = 0.7
_TARGET_GROWTH_MIB = 32
_TARGET_GROWTH_OF_MANY_MIB = 200
_MANY = 50
_KEY = "large.bin"
# A client on a slow line: this much, then a pause.
_SLOW_BYTES = 64 * 1024
_SLOW_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Streaming:
    """One large object at a time against an aiohttp relay, then many at once."""

    name: str = "stream"

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Rate and growth of one stream, growth of many."""
        stage.origin.put_sparse(_KEY, plan.streamed)
        # Once directly, so that it is in the page cache before anybody is measured.
        with Connection(stage.origin.port) as direct:
            direct.read_through(f"/{BUCKET}/{_KEY}")
        with (
            stage.s3proxy() as proxy,
            stage.relay() as relay,
        ):
            before = proxy.process.resident()
            proxy.process.forget_peak()
            runs = [
                (_stream(proxy, plan.streamed), _stream(relay, plan.streamed))
                for _ in range(plan.pairs)
            ]
            one = proxy.process.peak_resident() - before
        # In a process of its own: what one stream left behind must not hide what many need.
        with stage.s3proxy() as proxy:
            before = proxy.process.resident()
            proxy.process.forget_peak()
            received = _stream_many(proxy, plan.streams_seconds)
            many = proxy.process.peak_resident() - before
        ours, theirs = [a for a, _ in runs], [b for _, b in runs]
        size = f"{plan.streamed // MIB:,} MiB"
        return [
            Outcome(
                self.name,
                f"{size} object streamed ÷ bare aiohttp relay",
                "×",
                Spread.of_ratios([run.rate for run in ours], [run.rate for run in theirs]),
                at_least(_TARGET_RATE),
                notes=(
                    (
                        f"{_speed(ours):,.0f} MiB/s through the proxy, "
                        f"{_speed(theirs):,.0f} MiB/s through the relay"
                    ),
                ),
                sides=(Side.of(proxy.name, ours), Side.of(relay.name, theirs)),
            ),
            _growth(f"{self.name}/memory", f"memory for a {size} stream", one, _TARGET_GROWTH_MIB),
            _growth(
                f"{self.name}/memory-of-{_MANY}",
                f"memory for {_MANY} streams at once, half of them to slow clients",
                many,
                _TARGET_GROWTH_OF_MANY_MIB,
                f"{received / MIB:,.0f} MiB in {plan.streams_seconds:g} s",
            ),
        ]


def _stream(server: Contestant, size: int) -> Measurement:
    cpu = server.process.cpu_seconds()
    started = time.perf_counter()
    with Connection(server.port) as connection:
        received = connection.read_through(f"/{_KEY}")
    seconds = time.perf_counter() - started
    if received != size:
        raise BenchError(f"{server.name} sent {received} bytes of {size}")
    cpu = server.process.cpu_seconds() - cpu
    return Measurement.of_times(
        [seconds],
        seconds=seconds,
        received=received,
        cpu_seconds=cpu,
        memory=server.process.memory(),
    )


def _stream_many(server: Contestant, seconds: float) -> int:
    """Read on many connections until the time is over; the bytes that came."""
    until = time.monotonic() + seconds

    def read(number: int) -> int:
        slow = number % 2
        received = 0
        while time.monotonic() < until:
            with Connection(server.port) as connection:
                received += connection.read_through(
                    f"/{_KEY}",
                    chunk=_SLOW_BYTES if slow else MIB,
                    pause=_SLOW_PAUSE_SECONDS if slow else 0.0,
                    until=until,
                )
        return received

    with ThreadPoolExecutor(_MANY) as clients:
        return sum(clients.map(read, range(_MANY)))


def _speed(runs: list[Measurement]) -> float:
    return Spread.of(run.received / run.seconds / MIB for run in runs).median


def _growth(name: str, title: str, grown: int, target: float, *notes: str) -> Outcome:
    value = Spread.of([grown / MIB])
    return Outcome(name, title, "MiB", value, at_most(target), notes=tuple(notes))
