"""What a client may make the server remember, within bounds."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SEEN = 1 << 16


class Remembered(OrderedDict[K, tuple[V, int]]):
    """Values with their sizes by key, together of at most ``limit`` bytes; first in, first out."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.bytes = 0

    def remember(self, key: K, value: V, size: int) -> None:
        """Remember a value of ``size`` bytes; forgets others to have room for it."""
        replaced = self.pop(key, None)
        if replaced is not None:
            self.bytes -= replaced[1]
        self[key] = (value, size)
        self.bytes += size
        while self.bytes > self._limit:
            _, (_, freed) = self.popitem(last=False)
            self.bytes -= freed


class Seen:
    """Tells what is seen again from what comes once; forgets after some ten thousand others.

    In so many words of memory, whatever comes: what has the place and the hash of something else
    is taken for it, now and then.
    """

    def __init__(self) -> None:
        self._hashes = array("q", bytes(8 * _SEEN))

    def again(self, value: object) -> bool:
        """Was it seen before? From now on it was."""
        hashed = hash(value)
        place = hashed & (_SEEN - 1)
        if self._hashes[place] == hashed:
            return True
        self._hashes[place] = hashed
        return False
