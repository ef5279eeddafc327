"""Answers from memory as they go out, remembered for as long as the gateway would say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import ref

from proxy.cache.blocks import Piece
from proxy.core.messages import Everything
from proxy.core.ranges import ByteRange
from proxy.server.answered import Answered, told_lines
from proxy.server.page_pipe import Pages
from proxy.server.wire import JOINED_BYTES, date_line, field_lines, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.core.messages import Fields, StoredResponse
    from proxy.memory import Memory, Recalled
    from proxy.server.answered import Asked
    from proxy.store import Found


class Reply(Answered):
    """An answer that may last.

    ``head`` is as it has to be until ``valid_until``. The body is made of ``segments`` of the
    stored one, which is not kept alive by this. Where they can be had from the store without a
    look-up, they are ``pieces`` of its memory, or, worth sending from there, ``pages``.
    """

    __slots__ = (
        "_after",
        "_before",
        "_decided_until",
        "_is_dated",
        "_kept",
        "key",
        "pages",
        "pieces",
        "segments",
        "size",
        "slot",
        "stored",
        "under_way",
        "valid_until",
        "version",
        "whole",
    )

    def __init__(self, asked: Asked, key: str, recalled: Recalled, now: float) -> None:
        self.asked = asked
        self.key = key
        self.log_pieces = None
        self.status = recalled.head.status
        self.segments = recalled.head.segments
        found = recalled.found
        # Is the body the very one stored?
        self.whole = recalled.body is found.response.body
        self.handling = recalled.handling
        self.stored = ref(found.response)
        # A view of a large body that some transport still has, which saves making another.
        self.under_way: Callable[[], memoryview | None] = _nothing
        # Once it is to last: what a new head is made of.
        self._kept: StoredResponse | None = None
        self.slot, self.version = found.slot, found.version
        self.pieces, may_be_spliced = _pieces_of_body(recalled)
        self.size = sum([size for _, size in self.pieces or ()])
        self.pages: Pages | None = None
        if may_be_spliced and self.pieces is not None and self.size >= JOINED_BYTES:
            self.pages = Pages(self.slot, self.version, self.pieces, self.size)
        self.valid_until = recalled.valid_until
        self._decided_until = recalled.decided_until
        self._before, self._after = _encoded(recalled)
        # Errors are made here and now; all else has the Date that it was stored with.
        self._is_dated = any(name == b"date" for name, _ in recalled.head.fields)
        self.head = self._told(recalled.told, now)

    @property
    def lasts(self) -> bool:
        return self._kept is not None

    def last(self, found: Found) -> None:
        """Be ready to be given again, in the words of another second."""
        self._kept = replace(found.response, body=None)

    def retell(self, memory: Memory, now: float) -> bool:
        """Bring the head up to ``now``; false where the gateway has to decide anew."""
        if now >= self._decided_until or self._kept is None:
            return False
        fields, self.handling, self.valid_until = memory.retell(self._kept, now)
        self.head = self._told(fields, now)
        return True

    def _told(self, fields: Fields, now: float) -> bytes:
        """The head with the cache's fields of now."""
        date = b"" if self._is_dated else date_line(now)
        return b"".join((self._before, told_lines(fields), self._after, date, b"x-request-id: "))


def _nothing() -> None:
    return None


def _pieces_of_body(recalled: Recalled) -> tuple[tuple[Piece, ...] | None, bool]:
    """Where an answer's body is in the store, None if it is to be looked up; may it be spliced?"""
    segments, found = recalled.head.segments, recalled.found
    if not segments:
        return (), False
    if len(segments) != 1 or found.body_place is None:
        return None, False
    pieces, is_lent = found.body_place
    only = segments[0]
    if isinstance(only, Everything):
        return pieces, is_lent
    if isinstance(only, ByteRange):
        return tuple(_part(pieces, only.first, only.length)), is_lent
    return None, False


def _part(pieces: tuple[Piece, ...], first: int, length: int) -> Iterator[Piece]:
    """``length`` bytes of them from ``first`` on."""
    for at, size in pieces:
        taken = min(size - first, length)
        if taken > 0:
            yield Piece(at + first, taken)
            length -= taken
        first = max(0, first - size)


def _encoded(recalled: Recalled) -> tuple[bytes, bytes]:
    """Status line and fields: before the cache's, and after them."""
    head, told = recalled.head, recalled.told
    at = _place(told, head.fields)
    before, after = head.fields[:at], head.fields[at + len(told) :]
    return status_line(head.status) + field_lines(before), field_lines(after)


def _place(part: Fields, whole: Fields) -> int:
    """Where ``part`` begins in ``whole``."""
    return next(at for at in range(len(whole)) if whole[at : at + len(part)] == part)
