"""Writes figures into docs/scaling.md, so that nobody types them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.machine import ROOT
from bench.marked import between, number
from bench.sizing import Assumptions, loads_table, tier_table

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = ROOT / "docs" / "scaling.md"
# What of a run is about scaling: outcomes by the first part of their names.
_WORKLOADS = (
    "hit-1k", "workers", "purge-workers", "replicas-1", "replicas-2", "replicas-3", "l2",
    "purge-replicas",
)  # fmt: skip
# As --only takes them.
WORKLOADS = frozenset({"hit-1k", "workers", "purge-workers", "replicas", "l2", "purge-replicas"})
_NOTHING = "`make bench`, run whole, writes what it measures here."


def page(text: str, stored: Mapping[str, Any] | None) -> str:
    """The page with its tables as they should be; ``stored`` is the latest whole run's JSON.

    Raises BenchError where the page lacks a marker.
    """
    text = between(text, "measured", _NOTHING if stored is None else _measured(stored))
    text = between(text, "loads", loads_table(Assumptions()))
    return between(text, "tier", tier_table(Assumptions()))


def _measured(stored: Mapping[str, Any]) -> str:
    outcomes = [
        outcome for outcome in stored["outcomes"] if outcome["name"].partition("/")[0] in _WORKLOADS
    ]
    machine = stored["machine"]
    lines = [
        (
            f"{stored['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
            f"Python {machine['python']}, commit {machine['commit']}."
        ),
        "",
        "| work | median | lowest – highest | target |",
        "|---|---|---|---|",
    ]
    for outcome in outcomes:
        value, unit = outcome["value"], outcome["unit"]
        target = outcome["target"] or ""
        reached = "" if outcome["reached"] is not False else ", missed"
        lines.append(
            f"| {outcome['title']} | {number(value['median'])} {unit} "
            f"| {number(value['low'])} – {number(value['high'])} | {target}{reached} |"
        )
    lines += [
        "",
        "| server | requests/s | p50 ms | p99 ms | p99.9 ms | CPU µs a request | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        for side in outcome["sides"]:
            times = " | ".join(f"{side[name] * 1e3:.2f}" for name in ("p50", "p99", "p999"))
            lines.append(
                f"| {outcome['name']}: {side['name']} | {side['rate']:,.0f} | {times} "
                f"| {side['cpu_per_request'] * 1e6:,.1f} | {side['memory'] / 2**20:,.0f} |"
            )
    if failures := [name for name, _ in stored["failures"] if name.startswith(_WORKLOADS)]:
        lines += ["", f"Not measured in that run: {', '.join(failures)}."]
    return "\n".join(lines)
