"""One line a request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.cache_status import Handling

logger = logging.getLogger("s3proxy.access")

# The longest key, every byte of it percent-encoded. A line must fit into the 4,096 bytes that
# several processes may write to one pipe without getting into each other's lines (pipe(7)).
_LONGEST_PATH = 1 + 3 * 1024
_CUT_PATH = 1400


def is_on() -> bool:
    """Is anything logged? To be asked where gathering the facts has a price."""
    return logger.isEnabledFor(logging.INFO)


def log_request(
    *,
    method: str | None,
    path: str | None,
    status: int,
    sent_bytes: int,
    seconds: float,
    client: str,
    handling: Handling | None = None,
    request_id: str | None = None,
    complete: bool = True,
) -> None:
    """Log a request that is over.

    ``path`` is percent-encoded, without the query; ``sent_bytes`` are the body's;
    ``complete`` is false where the client did not get the whole answer.
    """
    if not is_on():
        return
    extra: dict[str, object] = {
        "method": method,
        "path": None if path is None else _fitting(path),
        "status": status,
        "bytes": sent_bytes,
        "duration_ms": round(seconds * 1000, 3),
        "client": client,
        "cache": None if handling is None else handling.status.value,
        "request_id": request_id,
    }
    if not complete:
        extra["complete"] = False
    logger.info("request", extra=extra)


def _fitting(path: str) -> str:
    """A path, cut where it is too long for any key."""
    # JSON takes two characters for each of these.
    if len(path) + path.count("\\") + path.count('"') <= _LONGEST_PATH:
        return path
    return path[:_CUT_PATH] + "…"
