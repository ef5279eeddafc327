"""Checks the scripts for wrk, and what is read from its output."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.wrk import BROWSER_FIELDS, Fixed, Listed, Numbered, measurement, script

OUTPUT = """Running 1s test @ http://127.0.0.1:1
  1 threads and 64 connections
Requests/sec:   1000.00
BENCH {"requests":1000,"microseconds":2000000,"bytes":5,"p50":1500,"p99":2500,"p999":3500,\
"connect":0,"read":0,"write":0,"status":0,"timeout":0}
"""


def test_a_report_becomes_a_measurement_in_seconds() -> None:
    measured = measurement(OUTPUT, cpu_seconds=1.0, memory=7)
    assert (measured.requests, measured.rate, measured.received) == (1000, 500, 5)
    assert (measured.p50, measured.p99, measured.p999) == (0.0015, 0.0025, 0.0035)
    assert (measured.cpu, measured.memory) == (0.5, 7)


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_a_run_with_errors_is_no_measurement(kind: str) -> None:
    with pytest.raises(BenchError, match=kind):
        measurement(OUTPUT.replace(f'"{kind}":0', f'"{kind}":3'), cpu_seconds=1.0, memory=7)


def test_a_run_without_answers_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="no answer"):
        measurement(OUTPUT.replace('"requests":1000', '"requests":0'), cpu_seconds=1, memory=7)


def test_output_without_a_report_is_shown() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        measurement("unable to connect to 127.0.0.1:1", cpu_seconds=1.0, memory=7)


def test_a_browser_sends_a_dozen_fields_beside_host() -> None:
    assert len(BROWSER_FIELDS) == 12


@pytest.mark.parametrize(
    "asked", [Fixed("/a"), Listed(("/a", "/b")), Numbered("/a/"), Numbered("/a/", 9)]
)
def test_every_script_sends_the_fields_and_reports(asked: Fixed | Listed | Numbered) -> None:
    text = script(asked, {"If-None-Match": '"it\'s"'})
    assert "wrk.headers['If-None-Match'] = '\"it\\'s\"'" in text
    assert "function done(" in text
    assert "BENCH " in text
    assert "%%" not in text


def test_numbers_are_random_below_a_count_or_else_go_up() -> None:
    assert "math.random(0, 8)" in Numbered("/a/", 9).lua()
    assert "math.random" not in Numbered("/a/").lua()
