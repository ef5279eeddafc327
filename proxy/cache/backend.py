"""A Django cache backend in memory that forked processes share, bounded by bytes.

    CACHES = {
        "default": {
            "BACKEND": "proxy.cache.backend.MemoryCache",
            "LOCATION": "name",
            "OPTIONS": {
                "MAX_ENTRIES": 2048,
                "MAX_BYTES": 536870912,  # of all processes, keys and tables included
                "PROCESSES": 1,          # those that share it: proxy.processes.index() of each
                "STALE_TIMEOUT": 0,      # seconds past its timeout that get_stale() finds a value
                "CLOCK": "time.monotonic",
            },
        }
    }

Every instance with one LOCATION shares one store, and so do the processes forked after the first
instance was made. Immutable values are given out as the same object again and again, everything
else is pickled on its way in and out, so that no caller can alter what is stored.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from proxy.cache.shared_cache import SharedCache, forget_stores
from proxy.cache.values import content_of, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.cache.shared_store import Lifetime

__all__ = ["MemoryCache", "forget_stores"]


class MemoryCache(SharedCache):
    """Django's cache contract, with a window in which ``get_stale`` finds more.

    A value is fresh for ``timeout`` seconds, then stale for ``stale`` seconds, then gone. All but
    ``get_stale``, ``delete`` and what SharedCache has treat a stale value as absent. Every ``a*``
    method calls its synchronous twin: nothing here waits long, so a thread would only cost time.
    """

    def get_stale(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, fresh or stale; ``default`` when there is neither."""
        found = self.lookup(key, version)
        return default if found is None else found.value

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        now = self._clock()
        held = self._held(self._full_key(key, version), now)
        return default if held is None or now >= held[1].fresh_until else held[0].value

    def set(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        stale: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        """Store ``value``; ``stale`` seconds past ``timeout`` (None: until evicted) it is gone.

        Nothing is stored of what is larger than MAX_BYTES, or of no lifetime at all: the key is
        then absent. Raises what pickle does, leaving the key as it was; ValueError for a
        negative ``stale``.
        """
        self._put(self._full_key(key, version), value, self._lifetime(timeout, stale))

    def set_many(
        self,
        data: dict[Any, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        """Store each value; the keys of those that are larger than MAX_BYTES."""
        failed = []
        for key, value in data.items():
            lifetime = self._lifetime(timeout)
            found = self._put(self._full_key(key, version), value, lifetime)
            if found is None and self._clock() < lifetime.kept_until:
                failed.append(key)
        return failed

    def add(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        full_key = self._full_key(key, version)
        lifetime = self._lifetime(timeout)
        content = content_of(value)
        with self._shared.memory:
            if self._peek_fresh(full_key) is not None:
                return False
            stored = self._put(full_key, value, lifetime, content) is not None
        return stored or self._clock() >= lifetime.kept_until

    def touch(
        self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Count the timeout anew; the stale window behind it stays as long as it was set."""
        full_key = self._full_key(key, version)
        with self._shared.memory:
            before = self._peek_fresh(full_key)
            if before is None:
                return False
            lifetime = self._lifetime(timeout, before.window)
            if lifetime.kept_until <= self._clock():
                return self._shared.remove(full_key)
            return self._shared.change(full_key, self._clock(), lifetime=lifetime)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        full_key = self._full_key(key, version)
        with self._shared.memory:
            lifetime = self._peek_fresh(full_key)
            failure: Exception | None = ValueError(f"Key {key!r} not found")
            stored = None if lifetime is None else self._shared.get(full_key, self._clock())
            if lifetime is not None and stored is not None:
                # What is raised must not be raised here: the lock would take what it guards for
                # damaged.
                try:
                    new_value: int = value_of(stored) + delta
                    self._put(full_key, new_value, lifetime)
                    failure = None
                except Exception as error:  # noqa: BLE001 - raised below
                    failure = error
        if failure is not None:
            raise failure
        return new_value

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move the value to another version, its lifetime unchanged; the new version."""
        old_version = self.version if version is None else version
        old_key = self._full_key(key, old_version)
        new_key = self._full_key(key, old_version + delta)
        with self._shared.memory:
            now = self._clock()
            lifetime = self._peek_fresh(old_key)
            stored = None if lifetime is None else self._shared.get(old_key, now)
            if lifetime is not None and stored is not None:
                self._shared.remove(old_key)
                self._shared.put(new_key, stored.content, lifetime)
        if stored is None:
            raise ValueError(f"Key {key!r} not found")
        return old_version + delta

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._peek_fresh(self._full_key(key, version)) is not None

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove the value, fresh or stale; whether there was one."""
        return self.remove(key, version)

    def clear(self) -> None:
        """Remove everything of this LOCATION, whatever its prefix or version."""
        self._local.clear()
        self._shared.clear()

    def _peek_fresh(self, full_key: str) -> Lifetime | None:
        now = self._clock()
        lifetime = self._shared.look(full_key, now)
        return None if lifetime is None or now >= lifetime.fresh_until else lifetime

    async def aget_stale(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.get_stale(key, default, version)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.get(key, default, version)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return self.get_many(keys, version)

    async def aset(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        stale: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self.set(key, value, timeout, version, stale=stale)

    async def aset_many(
        self,
        data: dict[Any, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        return self.set_many(data, timeout, version)

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        return self.add(key, value, timeout, version)

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        """As ``get_or_set``; what a callable ``default`` returns is awaited if it can be."""
        value = self.get(key, self._missing_key, version)
        if value is not self._missing_key:
            return value
        if callable(default):
            default = default()
            if inspect.isawaitable(default):
                default = await default
        self.add(key, default, timeout, version)
        return self.get(key, default, version)

    async def atouch(
        self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        return self.touch(key, timeout, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.incr(key, delta, version)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.decr(key, delta, version)

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.incr_version(key, delta, version)

    async def adecr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.decr_version(key, delta, version)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return self.has_key(key, version)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return self.delete(key, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self.delete_many(keys, version)

    async def aclear(self) -> None:
        self.clear()

    async def aclose(self, **kwargs: Any) -> None:
        self.close(**kwargs)
