"""Requests claimed beforehand are requests counted, whoever counts them."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction

import pytest
from django.test import RequestFactory

from proxy.claims import Claims
from proxy.client_address import limiter_key
from proxy.limits import seconds_to_wait, window_of

_numbers = itertools.count()


@pytest.fixture
def client() -> str:
    """One that nobody has counted yet."""
    return f"10.0.0.{next(_numbers)}"


def begin_a_window(seconds: int = 1) -> None:
    """Wait for a second that has just begun, so that what follows is within one."""
    while time.time() % seconds > 0.3:
        time.sleep(0.01)


def admitted(claims: Claims, times: int, client: str) -> int:
    return sum(claims.take(client) for _ in range(times))


@pytest.mark.parametrize("limit", [1, 2, 99, 100, 101, 250, 999])
def test_exactly_the_limit_is_admitted(client: str, limit: int) -> None:
    begin_a_window()
    assert admitted(Claims(Fraction(limit)), limit + 300, client) == limit


@pytest.mark.parametrize("limit", [3, 150, 1000])
def test_several_processes_together_never_exceed_it(client: str, limit: int) -> None:
    begin_a_window()
    workers = [Claims(Fraction(limit)) for _ in range(4)]
    took = [admitted(worker, 1, client) for _ in range(limit) for worker in workers]
    assert sum(took) == limit


def test_what_is_claimed_and_not_used_is_at_most_a_hundredth(client: str) -> None:
    begin_a_window()
    claims, others = Claims(Fraction(1000)), Claims(Fraction(1000))
    assert admitted(claims, 1, client) == 1
    assert admitted(others, 2000, client) >= 1000 - 1000 // 100


@pytest.mark.parametrize("limit", [5, 400])
def test_django_ratelimit_counts_with_it(client: str, limit: int) -> None:
    begin_a_window()
    request = RequestFactory().get("/")
    rate = Fraction(limit)

    def through_django() -> bool:
        return seconds_to_wait(request, client, rate) is None

    claims = Claims(rate)
    total = sum(through_django() + claims.take(limiter_key(client)) for _ in range(limit))
    assert total == limit
    assert not through_django()
    assert not claims.take(client)


def test_small_limits_are_counted_one_by_one(client: str) -> None:
    begin_a_window()
    request = RequestFactory().get("/")
    assert Claims(Fraction(2)).take(client)
    assert seconds_to_wait(request, client, Fraction(2)) is None
    assert seconds_to_wait(request, client, Fraction(2)) is not None


def test_clients_are_counted_apart() -> None:
    claims = Claims(Fraction(1, 10))
    assert [claims.take(f"192.0.2.{number}") for number in range(50)] == [True] * 50


def test_a_new_window_begins_anew(client: str) -> None:
    begin_a_window()
    claims = Claims(Fraction(200))
    assert admitted(claims, 300, client) == 200
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)
    assert admitted(claims, 300, client) == 200


@pytest.mark.parametrize("rate", ["0.5", "2.5"])
def test_longer_windows_end_where_django_ratelimit_ends_them(client: str, rate: str) -> None:
    request = RequestFactory().get("/")
    allowed, seconds = window_of(Fraction(rate))
    claims = Claims(Fraction(rate))
    began = time.monotonic()
    refused_by_one = 0
    while time.monotonic() - began < seconds + 1:
        taken = claims.take(client)
        # Counted by the other too, so that it has nothing left where this one has not.
        wait = seconds_to_wait(request, client, Fraction(rate))
        refused_by_one += taken and wait is None and allowed == 1
        time.sleep(0.02)
    assert refused_by_one == 0


def test_many_clients_do_not_fill_memory() -> None:
    claims = Claims(Fraction(1, 10))
    for number in range(10_500):
        claims.take(f"2001:db8:{number:x}::/64")
    assert len(claims._claims) == 10_000
