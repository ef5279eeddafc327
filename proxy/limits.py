"""The rate limit by client address."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from django_ratelimit.core import get_usage

from proxy.client_address import limiter_key
from proxy.fleet.service import guard

if TYPE_CHECKING:
    from fractions import Fraction

    from django.http import HttpRequest

# All requests of a window may come at once, so that it must not be long: 0.999 a second is no
# licence for 999 at a time.
_LONGEST_WINDOW_SECONDS = 10
_LONGEST_WAIT_SECONDS = 3600

# django-ratelimit knows no async; threads of its own keep it from the event loop, few of them,
# because its work is of the interpreter more than of the network.
_threads = ThreadPoolExecutor(4, thread_name_prefix="ratelimit")


def window_of(requests_per_second: Fraction) -> tuple[int, int]:
    """(requests, seconds) close to a rate: 0.5 is (1, 2), 2.5 is (5, 2), 0.01 is (1, 100)."""
    if requests_per_second * _LONGEST_WINDOW_SECONDS < 1:
        return 1, min(_LONGEST_WAIT_SECONDS, round(1 / requests_per_second))
    rate = requests_per_second.limit_denominator(_LONGEST_WINDOW_SECONDS)
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


async def seconds_to_wait_in_fleet(
    request: HttpRequest, address: str, requests_per_second: Fraction
) -> int | None:
    """As seconds_to_wait(), counting with all replicas; here alone while Redis fails to answer."""
    fleet = guard()
    if requests_per_second and not fleet.breaker.rests:
        asked = _threads.submit(seconds_to_wait, request, address, requests_per_second)
        # The thread tells the breaker what Redis did; it may have waited for its turn instead.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(fleet.bound):
                return await asyncio.wrap_future(asked)
    return seconds_to_wait(request, address, requests_per_second)
