"""docs/http.md names a test, or a reason, for every requirement of the RFCs that it lists."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COLUMNS = 4

# The sections that must have a row, each with its subsections.
SECTIONS = {
    "RFC 9110": {
        *("8.6", "8.7", "8.8", "8.8.1", "8.8.2", "8.8.2.1", "8.8.2.2", "8.8.3", "8.8.3.1"),
        *("8.8.3.2", "8.8.3.3", "9.3.1", "9.3.2", "10.2", "10.2.1", "10.2.2", "10.2.3", "10.2.4"),
        *("12.5.5", "13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5", "13.2.1", "13.2.2"),
        *("14.1", "14.1.1", "14.1.2", "14.2", "14.3", "14.4", "14.5", "14.6"),
        *("15.3.7", "15.3.7.1", "15.3.7.2", "15.3.7.3", "15.4.5", "15.5"),
        *(f"15.5.{number}" for number in range(1, 23)),
    },
    "RFC 9111": {
        *("3", "3.1", "3.2", "3.3", "3.4", "3.5", "4", "4.1", "4.2", "4.2.1", "4.2.2", "4.2.3"),
        *("4.2.4", "4.3", "4.3.1", "4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1", "5.2"),
        *("5.2.1", *(f"5.2.1.{number}" for number in range(1, 8))),
        *("5.2.2", *(f"5.2.2.{number}" for number in range(1, 11))),
        *("5.2.3", "5.2.4", "5.3", "5.4", "5.5"),
    },
    "RFC 5861": {"3", "4"},
    "RFC 9211": {"2", *(f"2.{number}" for number in range(1, 9))},
}


@dataclass(frozen=True, slots=True)
class Row:
    rfc: str
    section: str
    asked: str
    done: str
    held_by: str

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`(tests/[^`]*)`", self.held_by)

    @property
    def reason(self) -> str:
        return self.held_by.partition("left out: ")[2]


def rows(text: str) -> list[Row]:
    """The rows of all tables; the heading above a table names its RFC."""
    found, rfc = [], ""
    for line in text.splitlines():
        if line.startswith("#"):
            rfc = (re.findall(r"RFC \d+", line) or [""])[0]
        elif line.startswith("|") and not line.startswith(("|---", "| § ")):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == COLUMNS, line
            found.append(Row(rfc, *cells))
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """The tests at the top of a file, `TestModel = Model.TestCase` too; none without a file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(name for name in names if name.lower().startswith("test"))


def faults(table: list[Row]) -> list[str]:
    """What is wrong with the rows, one by one."""
    found = []
    for row in table:
        place = f"{row.rfc} §{row.section}: {row.asked}"
        if not row.rfc or not row.asked or not row.done:
            found.append(f"incomplete: {place}")
        if not row.tests and len(row.reason) < 10:
            found.append(f"neither test nor reason: {place}")
        for test in row.tests:
            path, _, name = test.partition("::")
            if name not in names_in(path):
                found.append(f"no such test: {test} ({place})")
    return found


TABLE = rows((ROOT / "docs" / "http.md").read_text(encoding="utf-8"))


def test_every_row_has_a_test_that_exists_or_a_reason() -> None:
    assert faults(TABLE) == []


@pytest.mark.parametrize("rfc", SECTIONS)
def test_every_section_has_a_row(rfc: str) -> None:
    assert SECTIONS[rfc] <= {row.section for row in TABLE if row.rfc == rfc}


GOOD = "| 4 | asked | done | `tests/test_http_table.py::test_every_section_has_a_row` |"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (GOOD, None),
        ("| 4 | asked | done | left out: for a good reason |", None),
        ("| 4 | asked | done | left out: |", "neither"),
        ("| 4 | asked | done | |", "neither"),
        ("| 4 | asked | done | nothing |", "neither"),
        (
            "| 4 | asked | | `tests/test_http_table.py::test_every_section_has_a_row` |",
            "incomplete",
        ),
        (GOOD.replace("has_a_row", "has_no_row"), "no such test"),
        (GOOD.replace("http_table", "http_chair"), "no such test"),
        (GOOD.replace("::", ""), "no such test"),
    ],
)
def test_what_is_wrong_is_noticed(row: str, fault: str | None) -> None:
    found = faults(rows(f"## RFC 9111: reuse\n\n{row}\n"))
    assert len(found) == (fault is not None)
    assert all(one.startswith(fault or "") for one in found)


def test_a_row_outside_a_table_of_an_rfc_is_noticed() -> None:
    assert faults(rows(GOOD)) != []
