"""What may go wrong with Redis, said without its secrets."""

from __future__ import annotations

import errno
import re

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

# Of an error's text only the code that begins it is told: NOAUTH, READONLY, MOVED.
_CODE = re.compile(r"[A-Z]{2,20}(?= |$)")


class FleetUnavailableError(Exception):
    """Redis did not do what it was asked within its bound; the text holds no secret."""


def reason_of(error: BaseException) -> str:
    """What went wrong in a few words that hold no secret: no URL, no argument, no answer."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "no answer in time"
    code = _CODE.match(str(error)) if isinstance(error, ResponseError) else None
    if code is not None:
        return code[0]
    number = _errno(error)
    if number is not None:
        return f"{type(error).__name__} ({errno.errorcode.get(number, number)})"
    return type(error).__name__


def is_full(error: BaseException) -> bool:
    """Did the server refuse a write for want of memory? Reads go on then."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and str(error).startswith("OOM")
    )


def _errno(error: BaseException) -> int | None:
    cause = error.__cause__ or error.__context__ if isinstance(error, RedisError) else error
    return cause.errno if isinstance(cause, OSError) else None
