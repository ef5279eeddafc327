"""Writes the figures of a whole run into docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.machine import ROOT
from bench.marked import between, number

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = ROOT / "docs" / "performance.md"


def page(text: str, stored: Mapping[str, Any]) -> str:
    """The page with the ratios of a run, given as its JSON, that have a target.

    Raises BenchError where the page lacks its marker.
    """
    machine = stored["machine"]
    lines = [
        (
            f"{stored['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
            f"Python {machine['python']}, commit {machine['commit']}."
        ),
        "",
        "| work | median | lowest – highest | by CPU | target |",
        "|---|---|---|---|---|",
    ]
    for outcome in stored["outcomes"]:
        if outcome["target"] is None:
            continue
        value = outcome["value"]
        by_cpu = outcome["ratio_by_cpu"]
        missed = ", **missed**" if outcome["reached"] is False else ""
        lines.append(
            f"| {outcome['title']} | {number(value['median'])} {outcome['unit']} "
            f"| {number(value['low'])} – {number(value['high'])} "
            f"| {'' if by_cpu is None else number(by_cpu)} | {outcome['target']}{missed} |"
        )
    return between(text, "measured", "\n".join(lines))
