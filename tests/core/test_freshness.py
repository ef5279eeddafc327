"""RFC 9111 §4.2 and RFC 5861: lifetime, age, windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cache_control import ResponseDirectives
from proxy.core.freshness import (
    Freshness,
    corrected_initial_age,
    explicit_lifetime,
    freshness_of,
)
from proxy.core.http_date import format_http_date
from proxy.core.storability import assess
from tests.core.responses import NOW, POLICY, origin_head, stored_response


def directives(value: str) -> ResponseDirectives:
    return ResponseDirectives.parse((value,))


# §4.2.1 Calculating Freshness Lifetime


@pytest.mark.parametrize(
    ("cache_control", "expires_in", "lifetime"),
    [
        ("s-maxage=1, max-age=2", 3, 1.0),
        ("max-age=2", 3, 2.0),
        ("public", 3, 3.0),
        ("public", None, None),
        ("public", -3, 0.0),
        ("s-maxage=0, max-age=2", 3, 0.0),
        ("max-age=0", 3, 0.0),
        ("max-age=x", 3, 0.0),
    ],
)
def test_4_2_1_the_first_match_counts(
    cache_control: str, expires_in: float | None, lifetime: float | None
) -> None:
    sent = None if expires_in is None else "something"
    at = None if expires_in is None else NOW + expires_in
    assert explicit_lifetime(directives(cache_control), sent, at, NOW) == lifetime


def test_5_3_an_expires_that_is_no_date_is_in_the_past() -> None:
    assert explicit_lifetime(directives(""), "0", None, NOW) == 0.0


@pytest.mark.parametrize(("status", "lifetime"), [(200, 300.0), (404, 5.0), (410, 5.0)])
def test_4_2_2_what_says_nothing_gets_the_configured_lifetime(status: int, lifetime: float) -> None:
    assert freshness_of(status, directives(""), None, POLICY).lifetime == lifetime


# RFC 5861 §3, §4 and what forbids staleness


@pytest.mark.parametrize(
    ("cache_control", "stated", "swr", "sie"),
    [
        ("", None, 120.0, 3600.0),
        ("max-age=10", 10.0, 120.0, 3600.0),
        ("max-age=10, stale-while-revalidate=7", 10.0, 7.0, 3600.0),
        ("max-age=10, stale-if-error=7", 10.0, 120.0, 7.0),
        ("max-age=10, stale-while-revalidate=0, stale-if-error=0", 10.0, 0.0, 0.0),
        ("max-age=10, stale-while-revalidate=x", 10.0, 0.0, 3600.0),
        ("s-maxage=10", 10.0, 0.0, 0.0),
        ("s-maxage=10, stale-while-revalidate=7, stale-if-error=8", 10.0, 7.0, 8.0),
        ("max-age=0", 0.0, 0.0, 3600.0),
        ("max-age=0, stale-while-revalidate=7", 0.0, 7.0, 3600.0),
        ("must-revalidate", None, 0.0, 0.0),
        ("proxy-revalidate", None, 0.0, 0.0),
        ("no-cache", None, 0.0, 0.0),
        ("must-revalidate, stale-while-revalidate=7, stale-if-error=8", None, 0.0, 0.0),
        ("proxy-revalidate, stale-while-revalidate=7, stale-if-error=8", None, 0.0, 0.0),
        ("no-cache, stale-while-revalidate=7, stale-if-error=8", None, 0.0, 0.0),
    ],
)
def test_windows(cache_control: str, stated: float | None, swr: float, sie: float) -> None:
    found = freshness_of(200, directives(cache_control), stated, POLICY)
    assert (found.stale_while_revalidate, found.stale_if_error) == (swr, sie)


def test_a_404_gets_no_configured_windows() -> None:
    found = freshness_of(404, directives(""), None, POLICY)
    assert (found.stale_while_revalidate, found.stale_if_error) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("cache_control", "may_be_stale"),
    [
        ("", True),
        ("max-age=1", True),
        ("no-cache", False),
        ("must-revalidate", False),
        ("proxy-revalidate", False),
        ("s-maxage=1", False),
        ("s-maxage=1, stale-while-revalidate=7", True),
        ("s-maxage=1, stale-if-error=7", True),
    ],
)
def test_whether_a_client_may_ask_for_staleness(cache_control: str, may_be_stale: bool) -> None:
    found = freshness_of(200, directives(cache_control), 1.0, POLICY)
    assert found.may_be_stale is may_be_stale


# §4.2.3 Calculating Age


@pytest.mark.parametrize(
    ("age_value", "date", "request_time", "response_time", "age"),
    [
        (0.0, 100.0, 100.0, 100.0, 0.0),
        (0.0, 90.0, 100.0, 100.0, 10.0),
        (7.0, 100.0, 100.0, 100.0, 7.0),
        (7.0, 100.0, 98.0, 100.0, 9.0),
        (7.0, 80.0, 98.0, 100.0, 20.0),
        (0.0, 200.0, 100.0, 100.0, 0.0),
        (0.0, 100.0, 101.0, 100.0, 0.0),
    ],
    ids=["new", "apparent", "stated", "delay", "the-larger", "date-ahead", "clock-set-back"],
)
def test_4_2_3_age_on_arrival(
    age_value: float, date: float, request_time: float, response_time: float, age: float
) -> None:
    assert corrected_initial_age(age_value, date, request_time, response_time) == age


def test_4_2_3_age_grows_with_residence() -> None:
    stored = stored_response(initial_age=3.0)
    assert stored.age(NOW + 4.5) == 7.5


def test_a_wall_clock_set_back_makes_nothing_younger() -> None:
    assert stored_response(initial_age=3.0).age(NOW - 1000) == 3.0


def test_nothing_is_stale_by_default() -> None:
    assert Freshness(1.0).may_be_stale


# A second, naive reading of RFC 9111 §4.2 as a judge


def naive(
    fields: dict[str, str], request_time: float, arrived: float, asked: float
) -> tuple[float, float]:
    """(lifetime, current age), written down from the RFC's text alone."""
    values: dict[str, str] = {}
    for item in fields.get("cache-control", "").split(","):
        name, _, argument = item.strip().partition("=")
        values.setdefault(name, argument)
    date = float(fields["#date"]) if "#date" in fields else arrived
    if "s-maxage" in values:
        lifetime = float(values["s-maxage"])
    elif "max-age" in values:
        lifetime = float(values["max-age"])
    elif "#expires" in fields:
        lifetime = max(0.0, float(fields["#expires"]) - date)
    else:
        lifetime = POLICY.ttl
    apparent_age = max(0.0, arrived - date)
    age_value = float(fields.get("age", "0"))
    corrected_age_value = age_value + (arrived - request_time)
    resident_time = asked - arrived
    return lifetime, max(apparent_age, corrected_age_value) + resident_time


SECONDS = st.integers(0, 500)


@given(
    s_maxage=st.none() | SECONDS,
    max_age=st.none() | SECONDS,
    expires=st.none() | st.integers(-500, 500),
    date=st.none() | st.integers(-500, 500),
    age=st.none() | SECONDS,
    delay=st.integers(0, 20),
    resident=st.integers(0, 1000),
)
def test_lifetime_and_age_are_those_of_a_naive_reading(
    s_maxage: int | None,
    max_age: int | None,
    expires: int | None,
    date: int | None,
    age: int | None,
    delay: int,
    resident: int,
) -> None:
    fields: dict[str, str] = {}
    words = [f"s-maxage={s_maxage}"] if s_maxage is not None else []
    words += [f"max-age={max_age}"] if max_age is not None else []
    if words:
        fields["cache-control"] = ", ".join(words)
    if age is not None:
        fields["age"] = str(age)
    sent = list(fields.items())
    for name, at in (("date", date), ("expires", expires)):
        if at is not None:
            sent.append((name, format_http_date(NOW + at)))
            fields[f"#{name}"] = str(NOW + at)
    head = origin_head(*sent, request_time=NOW - delay)
    response = assess(head, POLICY).response
    lifetime, current_age = naive(fields, NOW - delay, NOW, NOW + resident)
    assert response.freshness.lifetime == lifetime
    assert response.age(NOW + resident) == current_age
