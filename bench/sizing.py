"""Calculates what a load needs: ``python -m bench.sizing``, the tables of docs/scaling.md.

The formulas are on that page. Rates are a second's, sizes are bytes, times seconds.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

KIB, GIB = 1 << 10, 1 << 30
_GBIT = 10**9 / 8
_DAY = 86_400
_MOST_CELLS = 100_000


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the calculation takes for given; ``use`` is the part of a limit that is planned with.

    ``miss_ops`` are Valkey's commands for what is not in it: look, lease, write, release.
    """

    body: float = 20 * KIB
    overhead: float = 1 * KIB
    exponent: float = 0.9
    lifetime: float = _DAY
    in_l2: float = 0.3
    hit_seconds: float = 40e-6
    l2_hit_seconds: float = 500e-6
    miss_seconds: float = 800e-6
    server_cores: int = 16
    server_memory: float = 32 * GIB
    network: float = 25 * _GBIT
    valkey_ops: float = 100_000
    miss_ops: float = 4
    valkey_memory: float = 64 * GIB
    prefix_gets: float = 5_500
    million_gets_dollars: float = 0.4
    use: float = 0.6


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second over so many objects."""

    rate: float
    objects: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a load needs in ``cells``: replicas that share one Valkey, and no key with others."""

    cells: int
    l1_share: float
    l2_share: float
    gets: float
    needs: dict[str, float]

    @property
    def servers(self) -> int:
        """All replicas of all cells, at least one each."""
        need = max(self.needs["cores"], self.needs["network"])
        return self.cells * max(1, math.ceil(need / self.cells))

    @property
    def first(self) -> str:
        """The part of which most is needed, by what one server, Valkey or prefix has."""
        return max(self.needs, key=lambda part: self.needs[part])


def popular_share(stored: float, objects: float, exponent: float) -> float:
    """The part of the requests that ask for the ``stored`` most popular of ``objects`` (Zipf)."""
    stored = min(stored, objects)

    def weight(count: float) -> float:
        # The harmonic sum as an integral from 1/2, which is a few percent off for a handful only.
        power = 1 - exponent
        return (float((count + 0.5) ** power) - float(0.5**power)) / power

    return weight(stored) / weight(objects)


def sized(load: Load, given: Assumptions) -> Sizing:
    """The fewest cells of which each gets along with one Valkey."""
    for cells in _steps(_MOST_CELLS):
        found = in_cells(load, given, cells)
        if max(found.needs[part] for part in found.needs if part.startswith("Valkey")) <= cells:
            return found
    raise ValueError("no number of cells is enough")


def in_cells(load: Load, given: Assumptions, cells: int) -> Sizing:
    """Needs are in whole units planned with: of cores and network servers, Valkeys, prefixes."""
    objects = load.objects / cells
    size = given.body + given.overhead
    l1 = popular_share(given.server_memory / size, objects, given.exponent)
    either = max(l1, popular_share(given.in_l2 * objects, objects, given.exponent))
    l2 = either - l1
    stored = given.in_l2 * load.objects
    # What is asked for less often than it becomes stale is asked of S3 each time; what more
    # often, once in a lifetime.
    validations = min(stored / given.lifetime, load.rate * either)
    gets = load.rate * (1 - either) + validations
    cpu = load.rate * (
        l1 * given.hit_seconds
        + l2 * given.l2_hit_seconds
        + (1 - either) * given.miss_seconds
    ) + validations * given.miss_seconds  # fmt: skip
    ops = load.rate * l2 + gets * given.miss_ops
    # A miss comes into the server, goes to Valkey and to the client; a network is full duplex.
    out = load.rate * size + gets * size
    needs = {
        "cores": cpu / (given.server_cores * given.use),
        "network": out / (given.network * given.use),
        "Valkey's commands": ops / (given.valkey_ops * given.use),
        "Valkey's memory": stored * size / given.valkey_memory,
        "Valkey's network": load.rate * l2 * size / (given.network * given.use),
        "S3 prefixes": gets / (given.prefix_gets * given.use),
    }
    return Sizing(cells, l1, l2, gets, needs)


def _steps(most: int) -> list[int]:
    """1, 2, 3 … and then in steps of 2 %, as nobody counts that exactly."""
    found = [1]
    while found[-1] < most:
        found.append(max(found[-1] + 1, int(found[-1] * 1.02)))
    return found


LOADS = (
    Load(1e3, 1e5),
    Load(1e4, 1e6),
    Load(1e5, 1e7),
    Load(1e6, 1e8),
    Load(1e6, 1e9),
)
_PARTS_IN_L2 = (0.03, 0.1, 0.3, 1.0)


def loads_table(given: Assumptions) -> str:
    """What each load needs, as Markdown."""
    head = (
        "requests/s", "objects", "gives out first", "cells", "servers", "L1", "L2",
        "S3 requests/s", "prefixes",
    )  # fmt: skip
    rows = []
    for load in LOADS:
        alone, found = in_cells(load, given, 1), sized(load, given)
        need = alone.needs[alone.first]
        first = (
            f"nothing ({alone.first}: {need:.1%})" if need <= 1 else f"{alone.first}, {need:.1f} ×"
        )
        rows.append(
            (
                f"{load.rate:,.0f}", f"{load.objects:,.0f}", first, f"{found.cells:,}",
                f"{found.servers:,}", f"{found.l1_share:.0%}", f"{found.l2_share:.0%}",
                f"{found.gets:,.0f}", f"{math.ceil(found.needs['S3 prefixes']):,}",
            )
        )  # fmt: skip
    return _markdown(head, rows)


def tier_table(given: Assumptions) -> str:
    """What the largest load needs with more or less of its objects in the second tier."""
    head = (
        "in the second tier",
        "cells",
        "S3 requests/s",
        "prefixes",
        "S3 requests, dollars a day",
    )
    rows = []
    for part in _PARTS_IN_L2:
        found = sized(LOADS[-1], replace(given, in_l2=part))
        dollars = found.gets * _DAY / 1e6 * given.million_gets_dollars
        rows.append(
            (
                f"{part:.0%} of all objects", f"{found.cells:,}", f"{found.gets:,.0f}",
                f"{math.ceil(found.needs['S3 prefixes']):,}", f"{dollars:,.0f}",
            )
        )  # fmt: skip
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(f"{loads_table(Assumptions())}\n\n{tier_table(Assumptions())}\n")
