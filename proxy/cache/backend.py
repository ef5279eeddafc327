"""A Django cache backend that keeps values in this process's memory, bounded by bytes.

    CACHES = {
        "default": {
            "BACKEND": "proxy.cache.backend.MemoryCache",
            "LOCATION": "name",
            "OPTIONS": {
                "MAX_ENTRIES": 2048,
                "MAX_BYTES": 536870912,  # keys and bookkeeping included
                "STALE_TIMEOUT": 0,      # seconds past its timeout that get_stale() finds a value
                "CLOCK": "time.monotonic",
            },
        }
    }

Every instance with one LOCATION shares one store. Immutable values are kept by reference, as is
any class with a true ``__cache_by_reference__`` (which may say its bytes in ``__cache_size__``);
everything else is pickled on its way in and out, so that no caller can alter what is stored.
"""

from __future__ import annotations

import inspect
import math
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    BaseCache,
    InvalidCacheKey,
    default_key_func,
)
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from proxy.cache.lru import LRU, Reason

Clock = Callable[[], float]

_BY_REFERENCE = frozenset({bytes, str, int, float, complex, bool, type(None)})

# An _Entry with its two deadlines, stale window and size, and the header of the bytes object in
# it. tracemalloc on 64-bit CPython 3.11 says 217.
_ENTRY_BYTES = 224

_FOREVER = math.inf


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value


def _window(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _callable(value: Any) -> Clock:
    clock: Clock = import_string(value) if isinstance(value, str) else value
    if not callable(clock):
        raise ValueError  # noqa: TRY004 - caught in parse(), where the message is written
    return clock


_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "MAX_ENTRIES": (_count, "a whole number above 0"),
    "MAX_BYTES": (_count, "a whole number above 0"),
    "STALE_TIMEOUT": (_window, "a number of seconds from 0 up, or None (until evicted)"),
    "CLOCK": (_callable, "a callable that takes nothing, or the dotted path to one"),
}


@dataclass(frozen=True, slots=True)
class _Options:
    """What OPTIONS said. Times in seconds; a ``stale_timeout`` of None is until evicted."""

    max_entries: int = 2048
    max_bytes: int = 512 * 1024 * 1024
    stale_timeout: float | None = 0
    # Nothing stored outlives the process, so deadlines need no calendar, and a wall clock that
    # is set back or forth must neither revive nor drop what is stored.
    clock: Clock = time.monotonic

    @property
    def bounds(self) -> tuple[int, int, Clock]:
        """What all instances of one LOCATION have to agree on."""
        return self.max_entries, self.max_bytes, self.clock

    @classmethod
    def parse(cls, location: str, options: object) -> _Options:
        """Raises ImproperlyConfigured, naming every bad option with what would be right."""
        if not isinstance(options, Mapping):
            raise ImproperlyConfigured(
                f"OPTIONS of the cache with LOCATION {location!r} should be a dict, not {options!r}"
            )
        fields: dict[str, Any] = {}
        problems = []
        for name, value in options.items():
            if name not in _RULES:
                problems.append(f"{name!r} is no option, those are {', '.join(_RULES)}")
                continue
            parsed, expected = _RULES[name]
            try:
                fields[name.lower()] = parsed(value)
            except (ValueError, ImportError):
                problems.append(f"{name}={value!r} should be {expected}")
        if problems:
            raise ImproperlyConfigured(
                f"OPTIONS of the cache with LOCATION {location!r}: {'; '.join(problems)}"
            )
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A stored value with its deadlines on the store's clock."""

    value: Any
    pickled: bool
    size: int
    fresh_until: float
    kept_until: float
    stale: float

    def load(self) -> Any:
        return pickle.loads(self.value) if self.pickled else self.value  # noqa: S301 - ours


@dataclass(frozen=True, slots=True)
class _Store:
    options: _Options
    lru: LRU[_Entry]


_stores: dict[str, _Store] = {}
_stores_lock = threading.Lock()


def forget_stores() -> None:
    """Let the next instance of each LOCATION begin an empty store with its own bounds.

    For tests. Instances that exist already keep the store they have.
    """
    with _stores_lock:
        _stores.clear()


class MemoryCache(BaseCache):
    """Django's cache contract over an LRU, with a window in which ``get_stale`` finds more.

    A value is fresh for ``timeout`` seconds, then stale for ``stale`` seconds, then gone. All but
    ``get_stale``, ``delete``, ``keys`` and the totals treat a stale value as absent. Every ``a*``
    method calls its synchronous twin: nothing here waits, so a thread would only cost time.
    """

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        """Raises ImproperlyConfigured for bad OPTIONS, or others than the LOCATION began with."""
        options = _Options.parse(name, params.get("OPTIONS", {}))
        super().__init__(params)
        self._lru = _open_store(name, options).lru
        self._clock = options.clock
        self._stale_timeout = options.stale_timeout

    @property
    def entries(self) -> int:
        """How many values are stored, fresh or not, whatever their prefix or version."""
        return len(self._lru)

    @property
    def bytes(self) -> int:
        """The bytes of all entries, keys and bookkeeping included."""
        return self._lru.bytes

    @property
    def evictions(self) -> dict[Reason, int]:
        """How many values went by themselves: ``entries``, ``bytes`` (no room), ``expired``."""
        return self._lru.evictions

    def keys(self, version: int | None = None) -> list[str]:
        """The keys stored under this prefix and ``version``, fresh or stale, oldest use first.

        Raises NotImplementedError with a KEY_FUNCTION, which cannot be inverted.
        """
        if self.key_func is not default_key_func:
            raise NotImplementedError("keys() needs the default KEY_FUNCTION to undo it")
        head = self.make_key("", version)
        now = self._clock()
        return [
            key.removeprefix(head)
            for key, entry in self._lru.items()
            if key.startswith(head) and now < entry.kept_until
        ]

    def validate_key(self, key: Any) -> None:
        """Any str will do. Raises InvalidCacheKey for what else a KEY_FUNCTION returns."""
        if not isinstance(key, str):
            raise InvalidCacheKey(f"a cache key must be a str, not {key!r}")

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """The moment ``timeout`` seconds from now on the store's clock; None is never."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else self._clock() + timeout

    def get_stale(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, fresh or stale; ``default`` when there is neither."""
        full_key = self.make_and_validate_key(key, version)
        entry = self._lru.get(full_key)
        if entry is None:
            return default
        if self._clock() >= entry.kept_until:
            self._lru.expire(full_key, entry)
            return default
        return entry.load()

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        full_key = self.make_and_validate_key(key, version)
        entry = self._lru.get(full_key)
        return default if entry is None or not self._is_fresh(full_key, entry) else entry.load()

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
        full_key = self.make_and_validate_key(key, version)
        self._put(full_key, self._entry(value, timeout, stale))

    def set_many(
        self,
        data: dict[Any, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        """Store each value; the keys of those that are larger than MAX_BYTES."""
        return [
            key
            for key, value in data.items()
            if not self._put(self.make_and_validate_key(key, version), self._entry(value, timeout))
        ]

    def add(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        full_key = self.make_and_validate_key(key, version)
        entry = self._entry(value, timeout)
        with self._lru.lock:
            return self._peek_fresh(full_key) is None and self._put(full_key, entry)

    def touch(
        self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Count the timeout anew; the stale window behind it stays as long as it was set."""
        full_key = self.make_and_validate_key(key, version)
        with self._lru.lock:
            entry = self._peek_fresh(full_key)
            if entry is None:
                return False
            fresh_until, kept_until = self._deadlines(timeout, entry.stale)
            self._put(full_key, replace(entry, fresh_until=fresh_until, kept_until=kept_until))
            return True

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        full_key = self.make_and_validate_key(key, version)
        with self._lru.lock:
            entry = self._peek_fresh(full_key)
            if entry is None:
                raise ValueError(f"Key {key!r} not found")
            new_value: int = entry.load() + delta
            value, pickled, size = _frozen(new_value)
            self._put(full_key, replace(entry, value=value, pickled=pickled, size=size))
            return new_value

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move the value to another version, its lifetime unchanged; the new version."""
        old_version = self.version if version is None else version
        old_key = self.make_and_validate_key(key, old_version)
        new_key = self.make_and_validate_key(key, old_version + delta)
        with self._lru.lock:
            entry = self._peek_fresh(old_key)
            if entry is None:
                raise ValueError(f"Key {key!r} not found")
            self._lru.pop(old_key)
            self._put(new_key, entry)
            return old_version + delta

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._peek_fresh(self.make_and_validate_key(key, version)) is not None

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove the value, fresh or stale; whether there was one."""
        full_key = self.make_and_validate_key(key, version)
        with self._lru.lock:
            entry = self._lru.peek(full_key)
            if entry is not None and self._clock() >= entry.kept_until:
                self._lru.expire(full_key, entry)
                return False
            return self._lru.pop(full_key) is not None

    def clear(self) -> None:
        """Remove everything of this LOCATION, whatever its prefix or version."""
        self._lru.clear()

    def _entry(
        self, value: Any, timeout: float | None, stale: float | None = DEFAULT_TIMEOUT
    ) -> _Entry:
        if stale is DEFAULT_TIMEOUT:
            stale = self._stale_timeout
        window = _FOREVER if stale is None else stale
        if not window >= 0:
            raise ValueError(f"stale must be a number of seconds from 0 up or None, not {stale}")
        stored, pickled, size = _frozen(value)
        return _Entry(stored, pickled, size, *self._deadlines(timeout, window), window)

    def _deadlines(self, timeout: float | None, stale: float) -> tuple[float, float]:
        # A timeout of no length ends now, not in the past: the stale window begins here.
        now = self._clock()
        expiry = self.get_backend_timeout(timeout)
        fresh_until = _FOREVER if expiry is None else max(now, expiry)
        return fresh_until, fresh_until + stale

    def _put(self, full_key: str, entry: _Entry) -> bool:
        if self._clock() >= entry.kept_until:
            self._lru.pop(full_key)
            return True
        return self._lru.put(full_key, entry, entry.size)

    def _peek_fresh(self, full_key: str) -> _Entry | None:
        entry = self._lru.peek(full_key)
        return None if entry is None or not self._is_fresh(full_key, entry) else entry

    def _is_fresh(self, full_key: str, entry: _Entry) -> bool:
        now = self._clock()
        if now >= entry.kept_until:
            self._lru.expire(full_key, entry)
        return now < entry.fresh_until

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


def _open_store(location: str, options: _Options) -> _Store:
    with _stores_lock:
        store = _stores.get(location)
        if store is None:
            store = _Store(options, LRU(options.max_entries, options.max_bytes))
            _stores[location] = store
    if options.bounds != store.options.bounds:
        raise ImproperlyConfigured(
            f"the cache with LOCATION {location!r} exists with MAX_ENTRIES, MAX_BYTES, CLOCK = "
            f"{store.options.bounds}, a second configuration says {options.bounds}: make them "
            "equal, or give one of them a LOCATION of its own"
        )
    return store


def _frozen(value: Any) -> tuple[Any, bool, int]:
    """What to store in place of ``value``, whether that is its pickle, the entry's bytes.

    Raises what pickle raises; TypeError or ValueError for a bad ``__cache_size__``.
    """
    kind = type(value)
    if kind is bytes:
        return value, False, _ENTRY_BYTES + len(value)
    if kind in _BY_REFERENCE:
        return value, False, _ENTRY_BYTES + sys.getsizeof(value)
    if getattr(kind, "__cache_by_reference__", False):
        size = getattr(value, "__cache_size__", None)
        if size is None:
            size = sys.getsizeof(value)
        elif type(size) is not int or size < 0:
            raise ValueError(f"__cache_size__ must be an int from 0 up, not {size!r}")
        return value, False, _ENTRY_BYTES + size
    pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return pickled, True, _ENTRY_BYTES + len(pickled)
