from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3proxy_site import notation


@given(st.integers(0, 500), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_the_units_of_a_duration_add_up(hours: int, minutes: int, seconds: int, ms: int) -> None:
    parsed = notation.duration(f"{hours}h{minutes}m{seconds}s{ms}ms")
    assert parsed == float(hours * 3600 + minutes * 60 + seconds + Fraction(ms, 1000))


def test_a_duration_is_exact_before_it_becomes_a_float() -> None:
    assert notation.duration("0.1s0.2s") == 0.3


@given(st.integers(0, 10**12))
def test_bytes_are_taken_as_they_are(number: int) -> None:
    assert notation.size(0)(str(number)) == number


@pytest.mark.parametrize("text", ["9" * 10_000_000, "1h" * 5_000_000, "1." * 5_000_000])
def test_endless_values_are_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    for parse in (notation.duration, notation.size(0), notation.integer(0, 9)):
        with pytest.raises(ValueError, match=r"^$"):
            parse(text)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("text", ["ſtatic", "STATİC"])  # lower() or casefold() make them ASCII
def test_a_choice_has_only_ascii_spellings(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        notation.choice("static")(text)
