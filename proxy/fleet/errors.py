"""What may go wrong with Redis, said without its secrets."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

# Of an error's text only the code that begins it is told: NOAUTH, READONLY, MOVED.
_CODE = re.compile(r"[A-Z]{2,20}(?= |$)")
_DEFAULT_PORT = 6379
# What such errors say, as far as an operator can do something about it.
_KNOWN = {
    "Authentication required": "a password is needed",
    "without any password configured": "a password is given, but the server has none",
    "DB index is out of range": "no such database number",
}


class FleetUnavailableError(Exception):
    """Redis did not do what it was asked within its bound; the text holds no secret."""


def reason_of(error: BaseException) -> str:
    """What went wrong in a few words that hold no secret: no URL, no argument, no answer."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "no answer in time"
    if isinstance(error, AuthenticationError | ResponseError):
        for text, meaning in _KNOWN.items():
            if text in str(error):
                return meaning
    if isinstance(error, AuthenticationError):
        return "wrong user or password"
    code = _CODE.match(str(error)) if isinstance(error, ResponseError) else None
    if code is not None:
        return code[0]
    cause = _cause(error)
    if isinstance(cause, socket.gaierror):
        return "the host name has no address"
    if isinstance(cause, ssl.SSLError):
        return f"TLS ({cause.reason})"
    if isinstance(cause, OSError) and cause.errno is not None:
        return f"{type(error).__name__} ({errno.errorcode.get(cause.errno, cause.errno)})"
    return type(error).__name__


def host_of(url: str) -> str:
    """``host:port`` of a Redis URL, without user and password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORT}"


def is_full(error: BaseException) -> bool:
    """Did the server refuse a write for want of memory? Reads go on then."""
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, ResponseError) and str(error).startswith("OOM")
    )


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or error.__context__ if isinstance(error, RedisError) else error
