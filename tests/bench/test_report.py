"""Checks the report's words, values and chart."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from bench.chart import chart
from bench.measurement import Outcome, Side, Spread, Target, at_least, at_most
from bench.report import Report

SVG = "{http://www.w3.org/2000/svg}"


def ratio(median: float, target: Target | None = None, *, cpu: float = 1.0) -> Outcome:
    sides = tuple(Side(name, 100.0, 0.1, 0.2, 0.3, cpu, 0.01, 1 << 20) for name in "ab")
    value = Spread(median, median / 2, median * 2)
    return Outcome("work", "some <work>", "×", value, target, sides)


def report(*outcomes: Outcome, failures: tuple[tuple[str, str], ...] = ()) -> Report:
    return Report("2001-01-01", "quick", {"processor": "some"}, outcomes, failures, ())


def test_a_missed_target_is_named_as_a_loss() -> None:
    text = report(ratio(0.5, at_least(0.9))).as_text()
    assert "Where we lose:\n  - some <work>: 0.50 ×, target ≥ 0.9" in text


def test_being_slower_is_a_loss_even_if_the_target_is_reached() -> None:
    text = report(ratio(0.8, at_least(0.7))).as_text()
    assert "Where we lose:\n  - some <work>: 0.80 ×, slower" in text


def test_without_losses_nothing_is_said_of_them() -> None:
    assert "Where we lose" not in report(ratio(2, at_least(1))).as_text()


def test_a_small_number_that_should_be_small_is_no_loss() -> None:
    outcome = Outcome("start", "start", "s", Spread.of([0.4]), at_most(2))
    assert "Where we lose" not in report(outcome).as_text()


def test_a_server_that_was_not_busy_makes_a_rate_doubtful() -> None:
    assert "Doubtful" in report(ratio(1, cpu=0.5)).as_text()
    assert "Doubtful" not in report(ratio(1, cpu=0.95)).as_text()


def test_a_workload_without_a_result_is_named_with_its_reason() -> None:
    text = report(failures=(("miss", "no origin"),)).as_text()
    assert "Not measured:\n  - miss: no origin" in text


def test_the_stored_form_says_what_was_reached() -> None:
    stored = json.loads(json.dumps(report(ratio(0.5, at_least(0.9))).as_json()))
    (outcome,) = stored["outcomes"]
    assert (outcome["reached"], outcome["target"]) == (False, "≥ 0.9")
    assert outcome["value"] == {"median": 0.5, "low": 0.25, "high": 1.0}


def test_the_chart_has_a_dot_for_each_ratio_and_nothing_else() -> None:
    other = Outcome("start", "start", "s", Spread.of([0.4]))
    drawn = ET.fromstring(chart([ratio(0.5, at_least(1)), ratio(2), other], "where & when"))
    kinds = [dot.get("class") for dot in drawn.iter(f"{SVG}circle")]
    assert kinds == ["missed", "reached"]


def test_dots_stand_on_the_side_of_the_line_that_they_should() -> None:
    drawn = ET.fromstring(chart([ratio(0.5), ratio(1), ratio(2)], ""))
    (one,) = (
        float(line.attrib["x1"]) for line in drawn.iter(f"{SVG}line") if line.get("class") == "one"
    )
    slower, same, faster = (float(dot.attrib["cx"]) for dot in drawn.iter(f"{SVG}circle"))
    assert slower < same == one < faster
    assert one - slower == pytest.approx(faster - one, abs=0.2)


def test_a_ratio_beyond_the_scale_stays_inside_the_picture() -> None:
    drawn = ET.fromstring(chart([ratio(500)], ""))
    (dot,) = drawn.iter(f"{SVG}circle")
    assert float(dot.attrib["cx"]) < float(drawn.attrib["width"])
