"""Answers on the wire: what is the same of those that last and those that do not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from proxy.server.wire import date_line, field_lines, status_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.access_log import LinePieces
    from proxy.core.cache_status import Handling
    from proxy.memory import Plain

AskedFields = tuple[tuple[bytes, bytes], ...]
# Method, target, and the fields that have a say.
Asked = tuple[bytes, bytes, AskedFields]

_OK = 200
_DATE = b"date: "

# Many answers have the same in one second.
told_lines = lru_cache(maxsize=1024)(field_lines)


class Answered:
    """An answer on the wire: ``head``, the request id, an empty line, the body."""

    __slots__ = ("asked", "handling", "head", "log_pieces", "status")

    asked: Asked
    handling: Handling
    head: bytes
    # What its lines in the access log have in common, once there is one.
    log_pieces: LinePieces | None
    status: int

    @property
    def method(self) -> str:
        """The method of the requests that it answers."""
        return self.asked[0].decode("ascii")

    @property
    def path(self) -> str:
        """Their target's path, percent-encoded."""
        return self.asked[1].partition(b"?")[0].decode("ascii", "backslashreplace")

    @property
    def lasts(self) -> bool:
        """May it be given again?"""
        return False


class PlainReply(Answered):
    """The answer that Memory.recall_plain() gave, for this once."""

    __slots__ = ()

    def __init__(self, asked: Asked, plain: Plain, now: Callable[[], float]) -> None:
        self.asked, self.status, self.handling, self.log_pieces = asked, _OK, plain.handling, None
        stored = plain.stored
        is_dated = stored.startswith(_DATE) or b"\r\n" + _DATE in stored
        self.head = b"".join(
            (
                status_line(_OK),
                stored,
                told_lines(plain.whole),
                told_lines(plain.told),
                b"" if is_dated else date_line(now()),
                b"x-request-id: ",
            )
        )
