"""The rate limit by client address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_ratelimit.core import get_usage

from proxy.client_address import limiter_key

if TYPE_CHECKING:
    from fractions import Fraction

    from django.http import HttpRequest

# A whole number of requests in a whole number of seconds, as close to the rate as this allows.
_LONGEST_WINDOW_SECONDS = 3600


def window_of(requests_per_second: Fraction) -> tuple[int, int]:
    """(requests, seconds) for a rate: 0.5 is (1, 2), 2.5 is (5, 2)."""
    rate = requests_per_second.limit_denominator(_LONGEST_WINDOW_SECONDS)
    if rate == 0:
        return 1, _LONGEST_WINDOW_SECONDS
    return rate.numerator, rate.denominator


def seconds_to_wait(
    request: HttpRequest, address: str, requests_per_second: Fraction
) -> int | None:
    """Count a request of this client; seconds until it may come again, None if it may now."""
    if not requests_per_second:
        return None
    usage = get_usage(
        request,
        group="s3proxy",
        key=lambda _group, _request: limiter_key(address),
        rate=lambda _group, _request: window_of(requests_per_second),
        method=get_usage.ALL,
        increment=True,
    )
    if usage is None or not usage["should_limit"]:
        return None
    time_left: int = usage["time_left"]
    return max(1, time_left)
