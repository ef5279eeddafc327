"""A Django cache backend that counts in Redis while it answers, in this process while it does not.

    CACHES = {"ratelimit": {"BACKEND": "proxy.fleet.counters.SharedCounters",
                            "LOCATION": "redis://host", "OPTIONS": {"LOCAL": "another alias"}}}

It has what counting takes, `add` and `incr`. Redis is asked from threads only: on an event loop,
where nothing may wait, it counts locally. To count locally is to admit what one replica may.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from proxy.fleet import metrics
from proxy.fleet.cache import RedisCache
from proxy.fleet.errors import is_full, reason_of
from proxy.fleet.service import guard

if TYPE_CHECKING:
    from collections.abc import Callable

# How long a counter lasts that was begun elsewhere: the longest window.
_LONGEST_WINDOW_SECONDS = 3600

T = TypeVar("T")


class _UnavailableError(Exception):
    """Count locally."""


class SharedCounters(BaseCache):
    """Raises ValueError for an incr() of what neither place knows; never what Redis raises."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._shared = RedisCache(server, {**params, "OPTIONS": {}})
        self._local_alias = params.get("OPTIONS", {}).get("LOCAL", "ratelimit_local")

    @property
    def _local(self) -> BaseCache:
        return caches[self._local_alias]

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        try:
            added = self._ask(lambda: self._shared.add(key, value, timeout, version))
        except _UnavailableError:
            metrics.limits["local"].inc()
            return self._local.add(key, value, timeout, version)
        metrics.limits["fleet"].inc()
        return added

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        try:
            return self._ask(lambda: self._shared.incr(key, delta, version))
        except _UnavailableError:
            if self._local.add(key, delta, _LONGEST_WINDOW_SECONDS, version):
                return delta
            return self._local.incr(key, delta, version)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        try:
            return self._ask(lambda: self._shared.get(key, default, version))
        except _UnavailableError:
            return self._local.get(key, default, version)

    def clear(self) -> None:
        """Forget what was counted here; Redis holds more than counters."""
        self._local.clear()

    def _ask(self, call: Callable[[], T]) -> T:
        """Raises _UnavailableError, and ValueError for a key that is not there."""
        fleet = guard()
        if _on_event_loop() or fleet.writes.rests or not fleet.breaker.allows():
            raise _UnavailableError
        began = time.monotonic()
        try:
            answer = call()
        except ValueError:
            fleet.breaker.succeeded()
            raise
        except Exception as error:
            if is_full(error):
                fleet.breaker.succeeded()
                fleet.writes.failed(reason_of(error))
            else:
                fleet.breaker.failed(reason_of(error))
            raise _UnavailableError from error
        fleet.breaker.succeeded(slow=time.monotonic() - began > fleet.bound)
        return answer


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
