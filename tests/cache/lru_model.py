"""A list that does, slowly, what proxy.cache.lru should do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from proxy.cache.lru import SLOT_BYTES

if TYPE_CHECKING:
    from proxy.cache.lru import Reason


def charge(key: str, size: int) -> int:
    """The bytes that an entry counts for."""
    return size + sys.getsizeof(key) + SLOT_BYTES


class Model:
    """What LRU should do, as a list from the least to the most recently used."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.slots: list[tuple[str, int, int]] = []
        self.evictions: dict[Reason, int] = {"entries": 0, "bytes": 0, "expired": 0}

    @property
    def bytes(self) -> int:
        return sum(slot[2] for slot in self.slots)

    def peek(self, key: str) -> int | None:
        return next((value for name, value, _ in self.slots if name == key), None)

    def pop(self, key: str) -> int | None:
        value = self.peek(key)
        self.slots = [slot for slot in self.slots if slot[0] != key]
        return value

    def get(self, key: str) -> int | None:
        self.slots.sort(key=lambda slot: slot[0] == key)
        return self.peek(key)

    def put(self, key: str, value: int, size: int) -> bool:
        self.pop(key)
        if charge(key, size) > self.max_bytes:
            return False
        self.slots.append((key, value, charge(key, size)))
        while len(self.slots) > self.max_entries:
            self.slots.pop(0)
            self.evictions["entries"] += 1
        while self.bytes > self.max_bytes:
            self.slots.pop(0)
            self.evictions["bytes"] += 1
        return True

    def clear(self) -> int:
        removed, self.slots = len(self.slots), []
        return removed
