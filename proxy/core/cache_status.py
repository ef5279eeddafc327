"""What the cache did with a request: the one definition for header, log and metric."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CacheStatus(enum.Enum):
    """The value of X-Cache, of the log's ``cache`` and of the metrics' counters."""

    HIT = "HIT"
    MISS = "MISS"
    STALE = "STALE"
    REVALIDATED = "REVALIDATED"
    BYPASS = "BYPASS"


class Forward(enum.Enum):
    """Why a request went to the origin: RFC 9211 §2.2."""

    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    STALE = "stale"
    REQUEST = "request"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Handling:
    """How one request was handled, for ``X-Cache`` and ``Cache-Status`` (RFC 9211).

    ``ttl`` is the remaining freshness in whole seconds, negative once stale.
    """

    status: CacheStatus
    fwd: Forward | None = None
    fwd_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    ttl: int | None = None
    detail: str | None = None

    def member(self) -> str:
        """The cache's member of a Cache-Status list, RFC 9211 §2."""
        parts = ["s3proxy"]
        # RFC 9211 §2.1: `hit` says that the request was not forwarded, so it never stands
        # beside `fwd`; a stale response that stood in for a failing origin was forwarded.
        if self.fwd is None:
            if self.status in (CacheStatus.HIT, CacheStatus.STALE):
                parts.append("hit")
        else:
            parts.append(f"fwd={self.fwd.value}")
            if self.fwd_status is not None:
                parts.append(f"fwd-status={self.fwd_status}")
        if self.ttl is not None:
            parts.append(f"ttl={self.ttl}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.detail is not None:
            parts.append(f"detail={self.detail}")
        return "; ".join(parts)
