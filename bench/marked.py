"""Puts text between the markers of a page."""

from __future__ import annotations

from bench.errors import BenchError


def between(text: str, name: str, content: str) -> str:
    """The page with ``content`` between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises BenchError where one of them is missing.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise BenchError(f"no {start} … {end} in the page")
    return f"{before}{start}\n{content}\n{end}{after}"


def number(value: float) -> str:
    """As few digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
