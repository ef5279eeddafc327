"""Requests that memory can answer, against other caches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.client import Connection, fetch_all
from bench.errors import BenchError
from bench.measurement import Measurement, Outcome, Side, Spread, Target
from bench.sink import Sink
from bench.wrk import BROWSER_FIELDS, Fixed, Listed, Wrk, script

if TYPE_CHECKING:
    from bench.contestants import Contestant, Origin, Stage
    from bench.plan import Plan
    from bench.wrk import Asked

# Requests that reached the origin though all was cached: of a thousand, and at least a few.
_ALLOWED_MISSES = 1000
Starter = Callable[["Stage"], AbstractContextManager["Contestant"]]


@dataclass(frozen=True, slots=True)
class Objects:
    """What is asked for: ``stored`` is fetched once beforehand, so that all of it is cached."""

    asked: Asked
    stored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody to compare with; ``program`` is what `--without-…` names."""

    program: str
    start: Starter
    target: Target | None
    name: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class HitComparison:
    """Hits on ``objects`` by the proxy, as ``ours`` starts it, and by each of ``peers``.

    ``fields`` are sent beside a browser's; ``status`` is what must be answered. A field's value
    of ``{etag}`` stands for the entity tag of the first object. Bodies that wrk is too slow for
    go down a ``sink``, where there is one object only.
    """

    name: str
    title: str
    objects: Callable[[Origin, Plan], Objects]
    peers: tuple[Peer, ...]
    ours: Starter = field(default=lambda stage: stage.s3proxy())
    fields: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    sink: bool = False

    def run(self, stage: Stage, plan: Plan) -> list[Outcome]:
        """Each peer in turn, alternating with the proxy."""
        peers = [peer for peer in self.peers if peer.program not in plan.without]
        objects = self.objects(stage.origin, plan)
        outcomes = []
        with ExitStack() as running:
            proxy = running.enter_context(self.ours(stage))
            fields = self._prepare(proxy, objects)
            client = self._client(stage, objects, fields)
            client.drive(proxy.port, proxy.process, plan.warmup)
            for peer in peers:
                with peer.start(stage) as other:
                    self._prepare(other, objects)
                    client.drive(other.port, other.process, plan.warmup)
                    ours, theirs = alternate(
                        plan.pairs,
                        lambda: all_hits(stage.origin, client, proxy, plan.seconds),
                        lambda other=other: all_hits(stage.origin, client, other, plan.seconds),  # type: ignore[misc]
                    )
                outcomes.append(
                    ratio_of_rates(
                        f"{self.name}/{(peer.name or other.name).lower()}",
                        f"{self.title} ÷ {peer.name or other.name}",
                        (proxy.name, ours),
                        (peer.name or other.name, theirs),
                        peer.target,
                        (peer.note,) if peer.note else (),
                    )
                )
        return outcomes

    def _client(self, stage: Stage, objects: Objects, fields: Mapping[str, str]) -> Wrk | Sink:
        if self.sink:
            return Sink(objects.stored[0], fields)
        path = stage.folder / f"{self.name}.lua"
        path.write_text(script(objects.asked, fields))
        return Wrk(path, (stage.cores.client,))

    def _prepare(self, contestant: Contestant, objects: Objects) -> dict[str, str]:
        """Fill the cache and see that it answers as it should; the fields to send."""
        fetch_all(contestant.port, objects.stored, BROWSER_FIELDS)
        with Connection(contestant.port) as connection:
            head, body = connection.get(objects.stored[0], BROWSER_FIELDS)
            fields = dict(BROWSER_FIELDS) | {
                name: value.format(etag=head.fields.get("etag", ""))
                for name, value in self.fields.items()
            }
            head, answered = connection.get(objects.stored[0], fields)
        if head.status != self.status:
            raise BenchError(f"{contestant.name} answers {head.status}, not {self.status}")
        if self.status == 200 and answered != body:
            raise BenchError(f"{contestant.name} answers with different bodies")
        return fields


def all_hits(
    origin: Origin, client: Wrk | Sink, contestant: Contestant, seconds: int
) -> Measurement:
    """A run that must not reach the origin; raises BenchError where it does."""
    before = origin.requests()
    run = client.drive(contestant.port, contestant.process, seconds)
    # The second look at the number is a request itself.
    misses = origin.requests() - before - 1
    if misses > max(3, run.requests // _ALLOWED_MISSES):
        raise BenchError(f"{contestant.name} asked the origin {misses} times for what is cached")
    return run


def alternate(
    pairs: int, ours: Callable[[], Measurement], theirs: Callable[[], Measurement]
) -> tuple[list[Measurement], list[Measurement]]:
    """A B A B …: what slows the machine for a while slows both."""
    measured = [(ours(), theirs()) for _ in range(pairs)]
    return [a for a, _ in measured], [b for _, b in measured]


def ratio_of_rates(
    name: str,
    title: str,
    ours: tuple[str, list[Measurement]],
    theirs: tuple[str, list[Measurement]],
    target: Target | None,
    notes: tuple[str, ...] = (),
) -> Outcome:
    """Our requests a second by theirs, pair by pair."""
    return Outcome(
        name,
        title,
        "×",
        Spread.of_ratios([run.rate for run in ours[1]], [run.rate for run in theirs[1]]),
        target,
        (Side.of(*ours), Side.of(*theirs)),
        notes,
    )


def one_object(size: int) -> Callable[[Origin, Plan], Objects]:
    """The same object again and again; ``size`` in bytes."""

    def objects(origin: Origin, _: Plan) -> Objects:
        key = f"hit-{size}"
        origin.put(key, size)
        return Objects(Fixed(f"/{key}"), (f"/{key}",))

    return objects


# Kinds of objects of a web site: bytes, and how many of ten are so large.
_SIZES = ((1 << 10, 4), (6 << 10, 3), (24 << 10, 2), (96 << 10, 1))
_DRAWS = 50_000
_SEED = 9


def zipf_objects(origin: Origin, plan: Plan) -> Objects:
    """Objects of mixed size, the n-th most popular asked for in proportion to 1/n^0.9."""
    sizes = [size for size, share in _SIZES for _ in range(share)]
    targets = []
    for number in range(plan.objects):
        key = f"mixed/{number % 100}/{number}.bin"
        # Popularity goes by the number, size by another residue of it: neither follows the other.
        origin.put(key, sizes[number * 7 % 10])
        targets.append(f"/{key}")
    return Objects(Listed(tuple(zipf(targets, _DRAWS))), tuple(targets))


def zipf(targets: list[str], draws: int, exponent: float = 0.9) -> Iterator[str]:
    """The same draws in every run."""
    weights = itertools.accumulate(1 / rank**exponent for rank in range(1, len(targets) + 1))
    chance = random.Random(_SEED)  # noqa: S311 - not a secret
    return iter(chance.choices(targets, cum_weights=list(weights), k=draws))
