"""Checks that the figures of docs/performance.md are those of the latest whole run."""

from __future__ import annotations

import json

import pytest

from bench.errors import BenchError
from bench.performance_page import PAGE, page
from bench.report import LATEST


def test_the_page_in_the_repository_is_up_to_date() -> None:
    """`python -m bench.report` brings it up to date."""
    assert page(PAGE.read_text(), json.loads(LATEST.read_text())) == PAGE.read_text()


def test_what_has_a_target_is_in_the_page_and_says_where_it_was_missed() -> None:
    stored = json.loads(LATEST.read_text())
    text = page("<!-- measured -->\n<!-- /measured -->", stored)
    for outcome in stored["outcomes"]:
        assert (outcome["title"] in text) == (outcome["target"] is not None)
    missed = sum(outcome["reached"] is False for outcome in stored["outcomes"])
    assert text.count("**missed**") == missed


def test_a_page_without_its_marker_is_an_error() -> None:
    with pytest.raises(BenchError, match="measured"):
        page("nothing", json.loads(LATEST.read_text()))
