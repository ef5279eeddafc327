"""A thread-safe mapping that forgets its least recently used entries to stay within bounds.

Two bounds hold at every moment, also between two steps of one call: the number of entries, and
their bytes. Room is made before an entry goes in, strictly oldest use first. Public methods take
the lock, ``_private`` ones assume that it is held.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

Reason = Literal["entries", "bytes", "expired"]

# What an entry takes beside its key and its body: the dict slot and order node of OrderedDict,
# this module's (value, charge) tuple and the charge. Measured with tracemalloc on 64-bit CPython
# 3.11 over sizes from 500 to 12,000: 150-180 bytes after filling, 180-255 after long churn, when
# the table has grown for keys long gone. The upper end, because a bound is a promise.
SLOT_BYTES = 256


class LRU(Generic[V]):
    """At most ``max_entries`` entries and ``max_bytes`` bytes, least recently used out first.

    An entry's bytes are the size given to ``put``, its key's ``sys.getsizeof`` and ``SLOT_BYTES``.
    ``on_evict`` is called with the reason of each eviction while the lock is held, so it has to be
    quick. Raises ValueError for bounds below 1.
    """

    def __init__(
        self, max_entries: int, max_bytes: int, on_evict: Callable[[Reason], object] | None = None
    ) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ValueError(f"bounds must be at least 1, not {max_entries} and {max_bytes}")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        # Re-entrant, so that a caller can hold it to make several calls one step, and so that a
        # finaliser that the garbage collector runs in here does not wait for itself.
        self.lock = threading.RLock()
        self._on_evict = on_evict
        self._slots: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._evictions: dict[Reason, int] = {"entries": 0, "bytes": 0, "expired": 0}

    def get(self, key: str) -> V | None:
        """The value, from now on the most recently used one; None when there is none."""
        with self.lock:
            slot = self._slots.get(key)
            if slot is None:
                return None
            self._slots.move_to_end(key)
            return slot[0]

    def peek(self, key: str) -> V | None:
        """The value, its place in the order unchanged; None when there is none."""
        with self.lock:
            slot = self._slots.get(key)
            return None if slot is None else slot[0]

    def put(self, key: str, value: V, size: int) -> bool:
        """Store a value of ``size`` bytes as the most recently used one.

        False when it would not fit into an empty mapping: then nothing is stored, and what was
        under that key is gone too, being outdated. Raises ValueError for a negative size.
        """
        if size < 0:
            raise ValueError(f"size must not be negative: {size}")
        charge = size + sys.getsizeof(key) + SLOT_BYTES
        with self.lock:
            self._remove(key)
            if charge > self.max_bytes:
                return False
            while len(self._slots) >= self.max_entries:
                self._evict_oldest("entries")
            while self._bytes + charge > self.max_bytes:
                self._evict_oldest("bytes")
            self._slots[key] = (value, charge)
            self._bytes += charge
            return True

    def pop(self, key: str) -> V | None:
        """Remove the entry and return its value; None when there is none. Not an eviction."""
        with self.lock:
            slot = self._remove(key)
            return None if slot is None else slot[0]

    def expire(self, key: str, value: V) -> bool:
        """Evict the entry as expired if it still holds this very ``value``; whether it did."""
        with self.lock:
            slot = self._slots.get(key)
            if slot is None or slot[0] is not value:
                return False
            self._remove(key)
            self._count("expired")
            return True

    def clear(self) -> int:
        """Remove everything; the number of entries removed. Not an eviction."""
        with self.lock:
            removed, self._slots = self._slots, OrderedDict()
            self._bytes = 0
            return len(removed)

    def keys(self) -> list[str]:
        """The keys of this moment, least recently used first."""
        with self.lock:
            return list(self._slots)

    def items(self) -> list[tuple[str, V]]:
        """The keys of this moment with their values, least recently used first."""
        with self.lock:
            return [(key, slot[0]) for key, slot in self._slots.items()]

    def __len__(self) -> int:
        with self.lock:
            return len(self._slots)

    def __contains__(self, key: str) -> bool:
        with self.lock:
            return key in self._slots

    @property
    def bytes(self) -> int:
        """The bytes of all entries, bookkeeping included; at most ``max_bytes``."""
        with self.lock:
            return self._bytes

    @property
    def evictions(self) -> dict[Reason, int]:
        """How many entries went, by reason, since the start."""
        with self.lock:
            return self._evictions.copy()

    def _remove(self, key: str) -> tuple[V, int] | None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._bytes -= slot[1]
        return slot

    def _evict_oldest(self, reason: Reason) -> None:
        _, slot = self._slots.popitem(last=False)
        self._bytes -= slot[1]
        self._count(reason)

    def _count(self, reason: Reason) -> None:
        self._evictions[reason] += 1
        if self._on_evict is not None:
            self._on_evict(reason)
