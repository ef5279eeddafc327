"""Stored responses by S3 key, in a Django cache with a stale window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy import metrics
from proxy.core.storability import stale_from

if TYPE_CHECKING:
    from proxy.cache.backend import MemoryCache
    from proxy.core.messages import StoredResponse
    from proxy.purge import Purge


class Store:
    """The responses that one process holds.

    Kept until evicted, however stale: the origin may confirm a stale one with a 304.
    """

    def __init__(self, cache: MemoryCache) -> None:
        self._cache = cache
        metrics.entries.set_function(lambda: cache.entries)
        metrics.stored_bytes.set_function(lambda: cache.bytes)

    @property
    def entries(self) -> int:
        """How many responses are stored."""
        return self._cache.entries

    @property
    def bytes(self) -> int:
        """Their bytes, bookkeeping included."""
        return self._cache.bytes

    def get(self, key: str) -> StoredResponse | None:
        """The response stored under a key, fresh or stale."""
        stored: StoredResponse | None = self._cache.get_stale(key)
        return stored

    def put(self, key: str, response: StoredResponse, now: float) -> bool:
        """Store a response in place of an older one; false where it is too large."""
        fresh_for = max(0.0, response.freshness.lifetime - response.age(now))
        self._cache.set(key, response, timeout=fresh_for, stale=None)
        return self.get(key) is response

    def remove(self, key: str) -> bool:
        """Forget the response under a key; whether there was one."""
        return self._cache.delete(key)

    def purge(self, purge: Purge, now: float) -> int:
        """Remove what a purge covers, or make it stale; how many responses that was."""
        if purge.everything and not purge.soft:
            purged = self._cache.entries
            self._cache.clear()
        else:
            touch = self._make_stale if purge.soft else self._remove_at
            purged = sum(touch(key, now) for key in self._covered(purge))
        if not purge.soft:
            metrics.evicted["purge"].inc(purged)
        return purged

    def _covered(self, purge: Purge) -> list[str]:
        if purge.everything or purge.prefixes:
            stored = self._cache.keys()
            return [key for key in stored if purge.matches(key)]
        return list(purge.keys)

    def _remove_at(self, key: str, _now: float) -> bool:
        return self.remove(key)

    def _make_stale(self, key: str, now: float) -> bool:
        stored = self.get(key)
        if stored is None:
            return False
        self.put(key, stale_from(stored, now), now)
        return True
