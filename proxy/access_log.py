"""One line a request."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, NamedTuple

from proxy.log_stream import LineHandler

if TYPE_CHECKING:
    from proxy.core.cache_status import Handling

logger = logging.getLogger("s3proxy.access")

_MESSAGE = "request"
_MICROSECONDS = tuple(repr(round(number / 1000, 3)).encode("ascii") for number in range(1000))

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
    logger.info(_MESSAGE, extra=extra)


class LinePieces(NamedTuple):
    """What lines that differ in time, duration, client and request id have in common."""

    start: bytes
    to_duration: bytes
    to_client: bytes
    to_request_id: bytes
    end: bytes


class AccessLines:
    """Writes lines like log_request's, at a fraction of the cost; for one thread.

    The handler's own formatter makes one line for all requests that are answered alike, around
    placeholders that stand for what differs.
    """

    def __init__(self, handler: LineHandler, formatter: logging.Formatter) -> None:
        self._add_line = handler.add_line
        self._formatter = formatter
        # Nobody can guess them, so no path contains them.
        self._duration = float(secrets.randbelow(10**12) + 10**12) + 0.125
        self._client, self._request_id = secrets.token_hex(16), secrets.token_hex(16)
        self._millisecond, self._time = 0, b""

    @classmethod
    def where_nothing_else_listens(cls) -> AccessLines | None:
        """None where no lines are wanted, or logging has more to do with them than to write."""
        if not is_on():
            return None
        handlers: list[logging.Handler] = []
        current: logging.Logger | None = logger
        while current is not None:
            handlers += current.handlers
            current = current.parent if current.propagate else None
        if len(handlers) != 1 or logger.filters:
            return None
        [handler] = handlers
        if (
            not isinstance(handler, LineHandler)
            or handler.formatter is None
            or handler.level > logging.INFO
            or handler.filters
        ):
            return None
        return cls(handler, handler.formatter)

    def pieces(
        self, *, method: str, path: str, status: int, sent_bytes: int, handling: Handling
    ) -> LinePieces:
        """The pieces of the lines for one answer."""
        record = logger.makeRecord(
            logger.name,
            logging.INFO,
            __file__,
            0,
            _MESSAGE,
            (),
            None,
            extra={
                "method": method,
                "path": _fitting(path),
                "status": status,
                "bytes": sent_bytes,
                "duration_ms": self._duration,
                "client": self._client,
                "cache": handling.status.value,
                "request_id": self._request_id,
            },
        )
        line = self._formatter.format(record) + "\n"
        start, _, rest = line.partition(self._formatter.formatTime(record))
        to_duration, _, rest = rest.partition(repr(self._duration))
        to_client, _, rest = rest.partition(self._client)
        to_request_id, _, end = rest.partition(self._request_id)
        parts = (start, to_duration, to_client, to_request_id, end)
        return LinePieces(*[part.encode() for part in parts])

    def log(
        self, pieces: LinePieces, now: float, seconds: float, client: bytes, request_id: bytes
    ) -> None:
        """Log a request that is over; ``now`` in seconds since the epoch."""
        # Rounded to microseconds first, as logging does.
        millisecond = int(now * 1e6 + 0.5) // 1000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._time = self._written_time(now)
        start, to_duration, to_client, to_request_id, end = pieces
        microseconds = int(seconds * 1e6 + 0.5)
        self._add_line(
            b"".join(
                (
                    start,
                    self._time,
                    to_duration,
                    _MICROSECONDS[microseconds]
                    if microseconds < 1000
                    else repr(round(seconds * 1000, 3)).encode("ascii"),
                    to_client,
                    client,
                    to_request_id,
                    request_id,
                    end,
                )
            )
        )

    def _written_time(self, now: float) -> bytes:
        record = logging.LogRecord(logger.name, logging.INFO, __file__, 0, _MESSAGE, (), None)
        record.created = now
        return self._formatter.formatTime(record).encode("ascii")


def _fitting(path: str) -> str:
    """A path, cut where it is too long for any key."""
    # JSON takes two characters for each of these.
    if len(path) + path.count("\\") + path.count('"') <= _LONGEST_PATH:
        return path
    return path[:_CUT_PATH] + "…"
