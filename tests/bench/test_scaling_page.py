"""Checks that the figures of docs/scaling.md are what the programs say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.errors import BenchError
from bench.measurement import Outcome, Side, Spread, at_least
from bench.report import Report, about_scaling
from bench.scaling_page import PAGE, WORKLOADS, page
from bench.workloads import workloads

EMPTY = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("measured", "loads", "tier"))


def stored(*outcomes: Outcome, failures: tuple[tuple[str, str], ...] = ()) -> Any:
    machine = {"processor": "some", "cores": "2", "python": "3", "commit": "abc"}
    report = Report("2001-01-01T00:00:00", "default", machine, outcomes, failures, ())
    return json.loads(json.dumps(report.as_json()))


def outcome(name: str, median: float = 1.5) -> Outcome:
    side = Side("2 workers", 1234.0, 0.001, 0.002, 0.003, 1.0, 0.00002, 5 << 20)
    value = Spread(median, median - 1, median + 1)
    return Outcome(name, f"what {name} is", "× one worker", value, at_least(1.7), (side,))


def test_the_page_in_the_repository_is_up_to_date() -> None:
    """`python -m bench.report` brings it up to date."""
    assert page(PAGE.read_text(), about_scaling()) == PAGE.read_text()


def test_outcomes_about_scaling_are_in_the_page_with_their_servers() -> None:
    text = page(EMPTY, stored(outcome("workers"), outcome("workers/by-cpu")))
    assert "| what workers is | 1.50 × one worker | 0.50 – 2.50 | ≥ 1.7, missed |" in text
    assert "what workers/by-cpu is" in text
    assert "| workers: 2 workers | 1,234 | 1.00 | 2.00 | 3.00 | 20.0 | 5 |" in text


def test_other_outcomes_are_not() -> None:
    assert "what zipf is" not in page(EMPTY, stored(outcome("zipf")))


def test_what_was_not_measured_is_named() -> None:
    text = page(EMPTY, stored(failures=(("l2", "no tier"), ("zipf", "no origin"))))
    assert "Not measured in that run: l2." in text


def test_writing_the_page_again_changes_nothing() -> None:
    run = stored(outcome("workers"))
    once = page(EMPTY, run)
    assert page(once, run) == once


def test_without_a_whole_run_there_are_no_figures_of_one() -> None:
    measured = page(page(EMPTY, stored(outcome("workers"))), None)
    assert "what workers is" not in measured


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(BenchError, match="<!-- tier -->"):
        page(EMPTY.replace("<!-- tier -->", ""), None)


def test_the_workloads_of_the_page_are_workloads() -> None:
    assert {row.name for row in workloads()} >= WORKLOADS
