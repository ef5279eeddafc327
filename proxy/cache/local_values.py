"""Decoded values of what is in shared memory, for one process.

Each is worth something only as long as the slot that it was read from has the version it had
then, which whoever takes it has to look at.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.cache import survivors
from proxy.cache.seen import Seen
from proxy.cache.values import is_immutable, size_of
from proxy.core.messages import StoredResponse

if TYPE_CHECKING:
    from proxy.cache.shared_store import BodyPlace, Lifetime, Placed

# What an entry takes beside its value's bytes and its key: the places in the dict, Found and
# Local with their numbers.
_ENTRY_BYTES = 700

_LARGEST_BODY = 256 * 1024


class Found(NamedTuple):
    """A value with where it is stored: current as long as the slot has that version.

    ``body_place`` as in Placed.
    """

    value: Any
    slot: int
    version: int
    body_place: BodyPlace | None


@dataclass(frozen=True, slots=True)
class Local:
    """A decoded value, or with ``found`` None a reference to one while somebody uses it."""

    found: Found | None
    reference: weakref.ref[StoredResponse] | None
    placed: Placed
    lifetime: Lifetime
    size: int

    def value(self) -> Any:
        """The value; None when nobody used it any more."""
        if self.found is not None:
            return self.found.value
        return None if self.reference is None else self.reference()


class LocalValues:
    """At most ``max_entries`` in ``max_bytes`` bytes, first in first out.

    A response with a large body is not kept alive: a view of the shared memory would keep the
    room from being used long after it has been removed, and a copy is what the view saves.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._seen = Seen()
        # A dict would look for its oldest key past all that have been taken out before it.
        self._by_key: OrderedDict[str, Local] = OrderedDict()
        # The one call of the way of a hit.
        self.get = self._by_key.get

    def add(self, key: str, value: Any, placed: Placed, lifetime: Lifetime) -> Found:
        """Hold the value for others too, if it is immutable, not too large, and comes again.

        What has a large body is held the first time: decoding it anew may be a copy of that.
        """
        found = Found(value, placed.slot, placed.version, placed.body_place)
        if not is_immutable(value) or not (_is_large(value) or self._seen.again(key)):
            self.drop(key)
            return found
        local = _local(key, found, placed, lifetime)
        with self._lock:
            self._drop(key)
            if local.size <= self._max_bytes:
                while (
                    len(self._by_key) >= self._max_entries
                    or self._bytes + local.size > self._max_bytes
                ):
                    self._drop(next(iter(self._by_key)))
                self._by_key[key] = local
                self._bytes += local.size
        survivors.held()
        return found

    def drop(self, key: str) -> None:
        """Hold nothing of the key."""
        if key not in self._by_key:
            return
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Hold nothing."""
        with self._lock:
            self._by_key.clear()
            self._bytes = 0

    def become_child(self) -> None:
        """Take a lock that no thread of the parent holds."""
        self._lock = threading.Lock()

    def _drop(self, key: str) -> None:
        local = self._by_key.pop(key, None)
        if local is not None:
            self._bytes -= local.size


def _is_large(value: Any) -> bool:
    return type(value) is StoredResponse and len(value.body or b"") >= _LARGEST_BODY


def _local(key: str, found: Found, placed: Placed, lifetime: Lifetime) -> Local:
    value = found.value
    size = _ENTRY_BYTES + len(key)
    if _is_large(value):
        return Local(None, weakref.ref(value), placed, lifetime, size)
    return Local(found, None, placed, lifetime, size + size_of(value))
