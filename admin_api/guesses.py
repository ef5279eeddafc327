"""How often a client may be wrong about the admin token.

Whoever is wrong more than ALLOWED times in WINDOW_SECONDS is refused with 429 for the rest of the
window. What becomes of a right token meanwhile depends on whether guessing could succeed at all:

- A token of SHORT_TOKEN characters or more is not found at any rate of guessing, so a right one
  is accepted always. Else a stranger behind the same address, or the same load balancer, could
  keep the operator from purging.
- A shorter one might be found, so nothing is compared before the window ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from django_ratelimit.core import get_usage

from proxy.client_address import limiter_key
from s3proxy_site.env import SHORT_TOKEN

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest

ALLOWED: Final = 10
WINDOW_SECONDS: Final = 60

logger = logging.getLogger("s3proxy.admin")


def seconds_to_wait(request: ASGIRequest) -> int | None:
    """Seconds for which a client may offer no token, right or wrong; None if it may now."""
    count, seconds = _usage(request, increment=False)
    return seconds if count > ALLOWED else None


def count_wrong(request: ASGIRequest) -> int | None:
    """Count a wrong token; seconds until the client is asked to come again, None if it may now.

    Logs the wrong tokens up to the limit and the refusal once: a burst must not flood the log.
    """
    count, seconds = _usage(request, increment=True)
    who = {
        "client": _client(request),
        "request_id": request.scope.get("s3proxy.request_id"),
    }
    if count <= ALLOWED:
        logger.warning("wrong admin token", extra=who)
        return None
    if count == ALLOWED + 1:
        logger.warning("too many wrong admin tokens", extra=who | {"refused_seconds": seconds})
    return seconds


def can_be_guessed(token: str) -> bool:
    """Would enough attempts find it?"""
    return len(token) < SHORT_TOKEN


def _usage(request: ASGIRequest, *, increment: bool) -> tuple[int, int]:
    """(wrong tokens in this window, seconds until it ends), in RATELIMIT_USE_CACHE."""
    usage = get_usage(
        request,
        group="s3proxy-admin",
        key=lambda _group, _request: limiter_key(_client(request)),
        rate=lambda _group, _request: (ALLOWED, WINDOW_SECONDS),
        method=get_usage.ALL,
        increment=increment,
    )
    if usage is None or usage["time_left"] < 0:
        # Counting failed: to refuse the operator would be worse than not to slow a guesser.
        return 0, 1
    return usage["count"], max(1, usage["time_left"])


def _client(request: ASGIRequest) -> str:
    client: str = request.scope.get("s3proxy.client", "-")
    return client
