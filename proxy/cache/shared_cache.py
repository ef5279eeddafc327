"""A Django cache over a shared store, with stale values beside fresh ones.

Beyond Django's contract it tells where a value lies, marks stale, and removes what a rule matches.
"""

from __future__ import annotations

import math
import os
import threading
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    BaseCache,
    InvalidCacheKey,
    default_key_func,
)
from django.core.exceptions import ImproperlyConfigured

from proxy.cache.layout import Plan
from proxy.cache.local_values import Found, LocalValues
from proxy.cache.options import Options
from proxy.cache.shared_store import Lifetime, SharedStore
from proxy.cache.values import content_of, sketch_of, value_of
from proxy.core.messages import StoredResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from proxy.cache.entries import Reason
    from proxy.cache.shared_store import Content
    from proxy.cache.values import Sketched

# How many slots a walk looks at before it lets others have their turn.
_SLICE = 2000

_FOREVER = math.inf


class _Store:
    """What the instances of one LOCATION share."""

    def __init__(self, location: str, options: Options) -> None:
        plan = Plan.of(options.max_entries, options.max_bytes, options.processes)
        self.options = options
        self.shared = SharedStore(f"cache-{location}", plan)
        self.local = LocalValues(plan.entries, plan.local_bytes)


_stores: dict[str, _Store] = {}
_stores_lock = threading.Lock()


def forget_stores() -> None:
    """Let the next instance of each LOCATION begin an empty store with its own bounds.

    For tests. Instances that exist already keep the store they have.
    """
    with _stores_lock:
        _stores.clear()


class SharedCache(BaseCache):
    """Values by key, with deadlines: fresh for a while, then stale for a while, then gone.

    Everything here finds stale values too.
    """

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        """Raises ImproperlyConfigured for bad OPTIONS, or others than the LOCATION began with."""
        options = Options.parse(name, params.get("OPTIONS", {}))
        super().__init__(params)
        store = _open_store(name, options)
        self._shared, self._local = store.shared, store.local
        self._versions, self._ticks = store.shared.versions, store.shared.ticks
        self._clock = options.clock
        self._stale_timeout = options.stale_timeout
        # What make_key() would give of "", so that it need not be formatted for each lookup.
        self._head = self.make_key("") if self.key_func is default_key_func else None
        # See SharedStore.
        self.use, self.read, self.splice = store.shared.use, store.shared.read, store.shared.splice

    @property
    def entries(self) -> int:
        """How many values are stored, fresh or not, whatever their prefix or version."""
        return self._shared.entries

    @property
    def bytes(self) -> int:
        """The bytes of all entries, keys and bookkeeping included."""
        return self._shared.taken

    @property
    def evictions(self) -> dict[Reason, int]:
        """How many values went by themselves: ``entries``, ``bytes`` (no room), ``expired``."""
        return self._shared.evictions

    def forget_process(self, index: int) -> None:
        """Give back what a process that has died held of the memory."""
        self._shared.forget_process(index)

    def keys(self, version: int | None = None) -> list[str]:
        """The keys stored under this prefix and ``version``, fresh or stale, oldest use first.

        Raises NotImplementedError with a KEY_FUNCTION, which cannot be inverted.
        """
        now = self._clock()
        found = [
            (tick, key)
            for slice_ in self._walk(version)
            for tick, key, kept_until in slice_
            if now < kept_until
        ]
        return [key for _, key in sorted(found)]

    def validate_key(self, key: Any) -> None:
        """Any str will do. Raises InvalidCacheKey for what else a KEY_FUNCTION returns."""
        if not isinstance(key, str):
            raise InvalidCacheKey(f"a cache key must be a str, not {key!r}")

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """The moment ``timeout`` seconds from now on the store's clock; None is never."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else self._clock() + timeout

    def lookup(self, key: Any, version: int | None = None) -> Found | None:
        """The value, fresh or stale, with where it is stored; counts as a use of it."""
        full_key = self._full_key(key, version)
        local = self._local.get(full_key)
        if local is not None:
            slot, current, _, _ = local.placed
            if self._versions[slot] == current:
                found = local.found
                if found is not None and local.lifetime.kept_until == _FOREVER:
                    self._ticks[slot] = monotonic_ns()
                    return found
        held = self._held(full_key, self._clock())
        return None if held is None else held[0]

    def sketch(self, key: Any, below: int) -> Sketched | None:
        """What there is to say of a stored response, with its body; counts as a use of it.

        None where that is not told at once: of what is no response, was marked stale, or has a
        body of ``below`` bytes or more, and of whatever another process is at. Look it up then.
        """
        glimpsed = self._shared.glance(self._full_key(key, None), self._clock(), below)
        return None if glimpsed is None else sketch_of(glimpsed)

    def holds(self, key: Any, version: int | None = None) -> bool:
        """Is there a value, fresh or stale? Neither decoded, nor held, nor used."""
        return self._shared.look(self._full_key(key, version), self._clock()) is not None

    def put(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        stale: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> Found | None:
        """As ``set``, saying where it is stored; None where it does not fit or has no lifetime.

        Nor is anything stored or removed if ``unless``, asked in the same step, says so. It must
        not raise.
        """
        full_key = self._full_key(key, version)
        lifetime = self._lifetime(timeout, stale)
        if unless is None:
            return self._put(full_key, value, lifetime)
        content = content_of(value)
        with self._shared.memory:
            if unless():
                return None
            return self._put(full_key, value, lifetime, content)

    def remove(self, key: Any, version: int | None = None) -> bool:
        """Remove the value, fresh or stale; whether there was one."""
        full_key = self._full_key(key, version)
        self._local.drop(full_key)
        return self._shared.remove(full_key, self._clock())

    def mark_stale(self, key: Any, since: float, version: int | None = None) -> bool:
        """Make the value stale; was there one?

        A stored response is given out as stale from ``since`` on, in seconds since the epoch.
        """
        full_key = self._full_key(key, version)
        return self._shared.change(full_key, self._clock(), stale_since=since)

    def remove_matching(self, matches: Callable[[str], bool]) -> Generator[None, None, int]:
        """Remove the values whose keys match; how many those were.

        In steps, so that others have their turn: what is stored meanwhile may be missed. Raises
        NotImplementedError with a KEY_FUNCTION, which cannot be inverted.
        """
        return self._each_matching(matches, self.remove)

    def mark_stale_matching(
        self, matches: Callable[[str], bool], since: float
    ) -> Generator[None, None, int]:
        """As ``remove_matching``, for ``mark_stale``."""
        return self._each_matching(matches, lambda key: self.mark_stale(key, since))

    def _each_matching(
        self, matches: Callable[[str], bool], change: Callable[[str], bool]
    ) -> Generator[None, None, int]:
        changed = 0
        for found in self._walk():
            changed += sum([change(key) for _, key, _ in found if matches(key)])
            yield
        return changed

    def _walk(self, version: int | None = None) -> Iterator[list[tuple[int, str, float]]]:
        if self.key_func is not default_key_func:
            raise NotImplementedError("finding keys needs the default KEY_FUNCTION to undo it")
        head = self.make_key("", version)
        for found in self._shared.keys(_SLICE):
            yield [
                (tick, full_key.removeprefix(head), kept_until)
                for tick, full_key, kept_until in found
                if full_key.startswith(head)
            ]

    def _full_key(self, key: Any, version: int | None) -> str:
        if version is None and self._head is not None and type(key) is str:
            return self._head + key
        full_key: str = self.make_and_validate_key(key, version)
        return full_key

    def _lifetime(self, timeout: float | None, stale: float | None = DEFAULT_TIMEOUT) -> Lifetime:
        if stale is DEFAULT_TIMEOUT:
            stale = self._stale_timeout
        window = _FOREVER if stale is None else stale
        if not window >= 0:
            raise ValueError(f"stale must be a number of seconds from 0 up or None, not {stale}")
        # A timeout of no length ends now, not in the past: the stale window begins here.
        now = self._clock()
        expiry = self.get_backend_timeout(timeout)
        fresh_until = _FOREVER if expiry is None else max(now, expiry)
        return Lifetime(fresh_until, fresh_until + window, window)

    def _held(self, full_key: str, now: float) -> tuple[Found, Lifetime] | None:
        """The value, from this process if it has it decoded; counts as a use."""
        local = self._local.get(full_key)
        if local is not None and self._shared.is_current(*local.placed[:2]):
            value = local.value()
            if (value is not None or local.found is not None) and now < local.lifetime.kept_until:
                slot, version, _, body_place = local.placed
                self._shared.use(slot, version)
                return Found(value, slot, version, body_place), local.lifetime
        stored = self._shared.get(full_key, now)
        if stored is None:
            self._local.drop(full_key)
            return None
        found = self._local.add(full_key, value_of(stored), stored.placed, stored.lifetime)
        return found, stored.lifetime

    def _put(
        self, full_key: str, value: Any, lifetime: Lifetime, content: Content | None = None
    ) -> Found | None:
        if content is None:
            content = content_of(value)
        if self._clock() >= lifetime.kept_until:
            self._local.drop(full_key)
            self._shared.remove(full_key)
            return None
        placed = self._shared.put(full_key, content, lifetime, self._body_id(full_key, value))
        if placed is None:
            self._local.drop(full_key)
            return None
        return self._local.add(full_key, value, placed, lifetime)

    def _body_id(self, full_key: str, value: Any) -> int:
        """Which stored body the value has, if it was freshened; 0 for none that is known."""
        local = self._local.get(full_key)
        if local is None or type(value) is not StoredResponse or not value.body:
            return 0
        held = local.value()
        known = type(held) is StoredResponse and held.body is value.body
        return local.placed.body_id if known else 0


def _open_store(location: str, options: Options) -> _Store:
    with _stores_lock:
        store = _stores.get(location)
        if store is None:
            store = _stores[location] = _Store(location, options)
    if options.bounds != store.options.bounds:
        raise ImproperlyConfigured(
            f"the cache with LOCATION {location!r} exists with MAX_ENTRIES, MAX_BYTES, PROCESSES, "
            f"CLOCK = {store.options.bounds}, a second configuration says {options.bounds}: make "
            "them equal, or give one of them a LOCATION of its own"
        )
    return store


def _become_child() -> None:
    global _stores_lock  # noqa: PLW0603 - a thread of the parent may have held it
    _stores_lock = threading.Lock()
    for store in _stores.values():
        store.local.become_child()


os.register_at_fork(after_in_child=_become_child)
