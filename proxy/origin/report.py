"""What is told of a failed origin request, once: a log record, two counters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy import metrics

if TYPE_CHECKING:
    from proxy.origin.errors import OriginError

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
