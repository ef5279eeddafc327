"""The arithmetic and the memory of the rate limit."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test import RequestFactory

from proxy.limits import seconds_to_wait, window_of

if TYPE_CHECKING:
    from collections.abc import Iterator

RATES = ["1000000", "100", "10.01", "2.5", "1", "0.999", "0.5", "0.3", "0.1", "0.05", "0.001"]


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    caches["ratelimit"].clear()
    yield
    caches["ratelimit"].clear()


@pytest.mark.parametrize(
    ("rate", "window"),
    [("0.5", (1, 2)), ("2.5", (5, 2)), ("20", (20, 1)), ("0.01", (1, 100)), ("0.1", (1, 10))],
)
def test_a_rate_is_a_number_of_requests_in_a_number_of_seconds(
    rate: str, window: tuple[int, int]
) -> None:
    assert window_of(Fraction(rate)) == window


@pytest.mark.parametrize("rate", RATES)
def test_a_window_comes_close_to_its_rate(rate: str) -> None:
    requests, seconds = window_of(Fraction(rate))
    assert requests / seconds == pytest.approx(float(rate), rel=0.06)


@pytest.mark.parametrize("rate", RATES)
def test_no_more_than_ten_seconds_worth_may_come_at_once(rate: str) -> None:
    requests, _ = window_of(Fraction(rate))
    assert requests <= max(1, 10 * float(rate))


def test_the_smallest_rate_still_admits_a_request_an_hour() -> None:
    assert window_of(Fraction(1, 10**9)) == (1, 3600)


@pytest.mark.parametrize("rate", ["0.5", "2.5", "3"])
def test_a_client_over_its_rate_waits_for_the_window_to_end(rate: str) -> None:
    request = RequestFactory().get("/")
    allowed, seconds = window_of(Fraction(rate))
    waits = [seconds_to_wait(request, "192.0.2.1", Fraction(rate)) for _ in range(3 * allowed + 3)]
    refused = [wait for wait in waits if wait is not None]
    # The clock may begin a second window under the test.
    assert allowed <= waits.count(None) <= 2 * allowed
    assert all(1 <= wait <= seconds for wait in refused)


def test_clients_are_counted_apart() -> None:
    request = RequestFactory().get("/")
    assert [seconds_to_wait(request, f"192.0.2.{n}", Fraction(1, 2)) for n in range(50)] == [
        None
    ] * 50


def test_no_rate_is_no_limit() -> None:
    request = RequestFactory().get("/")
    assert [seconds_to_wait(request, "192.0.2.1", Fraction(0)) for _ in range(50)] == [None] * 50


def test_a_flood_of_addresses_does_not_fill_memory() -> None:
    request = RequestFactory().get("/")
    for number in range(3000):
        address = f"2001:db8:{number:x}::1"
        seconds_to_wait(request, address, Fraction(1, 2))
    counters = caches["ratelimit"]
    assert counters.bytes / 3000 < 1000  # type: ignore[attr-defined]
    assert settings.CACHES["ratelimit"]["OPTIONS"]["MAX_BYTES"] <= 64 * 2**20
