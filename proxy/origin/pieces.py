"""The part of a body that has come and waits for its reader."""

from __future__ import annotations

from collections import deque

# Small pieces are handed on together, up to so many bytes: each costs a few hops on its way.
_JOINED_BYTES = 64 * 1024
# What may wait, and what must be left of it before there is room again. Tiny pieces take more
# memory than their bytes.
HIGH_WATER_BYTES = 512 * 1024
LOW_WATER_BYTES = 256 * 1024
MOST_PIECES = 1024


class Pieces:
    """Pieces of a body in the order of arrival, ``size`` bytes in all."""

    __slots__ = ("_waiting", "size")

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Should no more come for now?"""
        return self.size > HIGH_WATER_BYTES or len(self._waiting) > MOST_PIECES

    @property
    def has_room(self) -> bool:
        """May more come again?"""
        return self.size <= LOW_WATER_BYTES and len(self._waiting) <= MOST_PIECES

    def append(self, piece: bytes) -> None:
        """Add what has come."""
        self._waiting.append(piece)
        self.size += len(piece)

    def join(self, count: int) -> None:
        """Make one of the last ``count`` pieces."""
        last = [self._waiting.pop() for _ in range(count)]
        self._waiting.append(b"".join(reversed(last)))

    def take(self) -> bytes:
        """The next piece as it came, joined with others if they are small; b"" if none is here."""
        waiting = self._waiting
        if not waiting:
            return b""
        piece = waiting.popleft()
        if waiting and len(piece) + len(waiting[0]) <= _JOINED_BYTES:
            joined = [piece]
            size = len(piece)
            while waiting and size + len(waiting[0]) <= _JOINED_BYTES:
                size += len(waiting[0])
                joined.append(waiting.popleft())
            piece = b"".join(joined)
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Forget what was not taken."""
        self._waiting.clear()
        self.size = 0
