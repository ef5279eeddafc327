"""docs/reliability.md names a test for every row, and a row for every fault of the table."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.faults.cases import CASES
from tests.test_http_table import ROOT, names_in

CASE_NAMES = {case.name for case in CASES}


def rows(text: str) -> list[tuple[str, list[str]]]:
    """(fault, what holds it) of each row of the tables whose last column is that of tests."""
    found, is_ours = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_ours = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if cells[-1] == "test":
            is_ours = True
        elif is_ours and not line.startswith("|--"):
            found.append((cells[0], re.findall(r"`([^`]+)`", cells[-1])))
    return found


def faults(table: list[tuple[str, list[str]]]) -> list[str]:
    """What is wrong with the rows, one by one."""
    found = [f"nothing holds: {fault}" for fault, held_by in table if not held_by]
    for fault, held_by in table:
        for each in held_by:
            path, _, name = each.partition("::")
            if each not in CASE_NAMES and name not in names_in(path):
                found.append(f"neither case nor test: {each} ({fault})")
    return found


TABLE = rows((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"))


def test_every_row_names_a_case_or_a_test_that_exists() -> None:
    assert faults(TABLE) == []
    assert len(TABLE) > 60


def test_every_case_has_a_row() -> None:
    named = Counter(each for _, held_by in TABLE for each in held_by)
    assert [case.name for case in CASES if not named[case.name]] == []


GOOD = "| f | e | `204`, `tests/test_reliability_table.py::test_every_case_has_a_row` |"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (GOOD, None),
        (GOOD.replace("`204`", "`205`"), "neither"),
        (GOOD.replace("has_a_row", "has_no_row"), "neither"),
        (GOOD.replace("table", "chair"), "neither"),
        ("| f | e | table |", "nothing"),
    ],
)
def test_what_is_wrong_is_noticed(row: str, fault: str | None) -> None:
    found = faults(rows(f"| fault | expected | test |\n|---|---|---|\n{row}\n"))
    assert len(found) == (fault is not None)
    assert all(one.startswith(fault or "") for one in found)
