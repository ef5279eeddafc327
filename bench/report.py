"""Tells what was found, to people and to programs.

``python -m bench.report`` writes the figures of the latest whole run into docs/scaling.md and
docs/performance.md.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import performance_page, scaling_page
from bench.machine import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measurement import Outcome, Side

RESULTS = ROOT / "bench" / "results"
LATEST = RESULTS / "latest.json"
# Of a run of all that docs/scaling.md tells of, and of no more.
SCALING = RESULTS / "scaling.json"

# Below it, something else than the server limited the rate.
_BUSY = 0.9


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run; ``failures`` are workloads without a result: name, reason."""

    date: str
    plan: str
    machine: Mapping[str, str]
    outcomes: Sequence[Outcome]
    failures: Sequence[tuple[str, str]]
    warnings: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values; times in seconds, memory in bytes where no unit is given."""
        found = dataclasses.asdict(self)
        for plain, outcome in zip(found["outcomes"], self.outcomes, strict=True):
            plain["reached"] = outcome.reached
            plain["ratio_by_cpu"] = outcome.ratio_by_cpu
            plain["target"] = None if outcome.target is None else str(outcome.target)
        return found

    def as_text(self) -> str:
        """Tables, then what is not as it should be."""
        parts = [
            f"{self.plan} run, {self.date}",
            *(f"  {name}: {value}" for name, value in self.machine.items()),
            "",
            _results(self.outcomes),
            "",
            _sides(self.outcomes),
        ]
        for title, lines in (
            ("Where we lose", _losses(self.outcomes)),
            ("Notes", [f"{o.name}: {note}" for o in self.outcomes for note in o.notes]),
            ("Doubtful", [*self.warnings, *_idle_servers(self.outcomes)]),
            ("Not measured", [f"{name}: {reason}" for name, reason in self.failures]),
        ):
            if lines:
                parts += ["", f"{title}:", *(f"  - {line}" for line in lines)]
        return "\n".join(parts)


def _results(outcomes: Sequence[Outcome]) -> str:
    rows = [("work", "median", "lowest", "highest", "", "by CPU", "target", "reached")]
    for outcome in outcomes:
        value = outcome.value
        rows.append(
            (
                outcome.title,
                _number(value.median),
                _number(value.low),
                _number(value.high),
                outcome.unit,
                "" if outcome.ratio_by_cpu is None else _number(outcome.ratio_by_cpu),
                str(outcome.target or ""),
                {None: "", True: "yes", False: "NO"}[outcome.reached],
            )
        )
    return _table(rows, left=(0, 4))


def _sides(outcomes: Sequence[Outcome]) -> str:
    rows: list[tuple[str, ...]] = [
        ("work", "server", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs", "core %", "MiB")
    ]
    rows += [
        (
            outcome.name if first else "",
            side.name,
            f"{side.rate:,.0f}" if side.rate >= 10 else f"{side.rate:.2f}",
            *(f"{seconds * 1e3:.2f}" for seconds in (side.p50, side.p99, side.p999)),
            f"{side.cpu_per_request * 1e6:,.1f}",
            f"{side.cpu * 100:.0f}",
            f"{side.memory / 2**20:,.0f}",
        )
        for outcome in outcomes
        for first, side in _with_first(outcome.sides)
    ]
    return _table(rows, left=(0, 1))


def _losses(outcomes: Sequence[Outcome]) -> list[str]:
    """Targets that were missed, and everybody who was faster."""
    lines = []
    for outcome in outcomes:
        value = f"{_number(outcome.value.median)} {outcome.unit}"
        if outcome.reached is False:
            lines.append(f"{outcome.title}: {value}, target {outcome.target}")
        elif outcome.is_ratio and outcome.value.median < 1:
            lines.append(f"{outcome.title}: {value}, slower, though not below a target")
    return lines


def _idle_servers(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    # In any other unit than a ratio of rates, a server that waits is as it should be.
    for outcome in (outcome for outcome in outcomes if outcome.is_ratio):
        idle = [f"{side.name} {side.cpu * 100:.0f} %" for side in outcome.sides if side.cpu < _BUSY]
        if idle:
            lines.append(f"{outcome.name}: {', '.join(idle)}")
    if lines:
        lines.insert(
            0,
            "of their core, the servers below used this much only: the client or another program "
            "limited their rates, and the ratio by CPU says more",
        )
    return lines


def _with_first(sides: Sequence[Side]) -> list[tuple[bool, Side]]:
    return [(index == 0, side) for index, side in enumerate(sides)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _table(rows: Sequence[tuple[str, ...]], *, left: tuple[int, ...]) -> str:
    """Columns as wide as they need be; those in ``left`` begin at the same place."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * len(max(lines, key=len)))
    return "\n".join(lines)


def about_scaling() -> Mapping[str, Any] | None:
    """The latest run with all that docs/scaling.md tells of, as JSON; None if there is none."""
    runs = [json.loads(path.read_text()) for path in (LATEST, SCALING) if path.exists()]
    return max(runs, key=lambda run: str(run["date"]), default=None)


def write_pages() -> None:
    """Bring the tables of docs/scaling.md and docs/performance.md up to date."""
    path = scaling_page.PAGE
    path.write_text(scaling_page.page(path.read_text(), about_scaling()))
    if LATEST.exists():
        path = performance_page.PAGE
        path.write_text(performance_page.page(path.read_text(), json.loads(LATEST.read_text())))


if __name__ == "__main__":
    write_pages()
