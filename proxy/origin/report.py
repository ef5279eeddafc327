"""What is told of a failed origin request, once: a log record, two counters."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from proxy import metrics

if TYPE_CHECKING:
    from proxy.origin.errors import OriginError, SaturatedError

logger = logging.getLogger("s3proxy.origin")


def report(error: OriginError, key: str) -> None:
    """Log and count an error met when asking for ``key``."""
    metrics.origin_requests["error"].inc()
    metrics.origin_errors[error.failure].inc()
    logger.error(
        "origin: %s",
        error,
        extra={
            "key": key,
            "reason": error.failure.value,
            "origin_status": error.origin_status,
            "code": error.code,
            "variable": error.variable,
        },
    )


# In a flood each further line would only make it worse.
_REFUSALS_APART_SECONDS = 1.0


class _Refusals:
    """When one was last logged, and how many were not since."""

    logged_at = float("-inf")
    unlogged = 0


def report_refusal(error: SaturatedError, key: str) -> None:
    """Count a request that was not made for ``key``; log at most one a second."""
    metrics.origin_errors[error.failure].inc()
    now = time.monotonic()
    if now - _Refusals.logged_at < _REFUSALS_APART_SECONDS:
        _Refusals.unlogged += 1
        return
    logger.error(
        "origin not asked: %s; see S3_MAX_CONCURRENCY",
        error,
        extra={
            "key": key,
            "reason": error.failure.value,
            "variable": "S3_MAX_CONCURRENCY",
            "others": _Refusals.unlogged,
        },
    )
    _Refusals.logged_at, _Refusals.unlogged = now, 0
