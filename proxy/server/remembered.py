"""A mapping bounded by the bytes of its values, which forgets the oldest first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from proxy.cache import survivors

K = TypeVar("K")
V = TypeVar("V")


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
        survivors.held()
        while self.bytes > self._limit:
            _, (_, freed) = self.popitem(last=False)
            self.bytes -= freed
