"""A cache on a clock that the test holds, reached through its sync or its async methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.cache.backend import MemoryCache, forget_stores

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """The cache's sync methods, or their async twins, behind one way to call them."""

    def __init__(self, cache: MemoryCache, prefix: str) -> None:
        self._cache = cache
        self._prefix = prefix

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._cache, self._prefix + name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return await result if self._prefix else result

        return call


@pytest.fixture(autouse=True)
def _no_stores_left() -> Iterator[None]:
    forget_stores()
    yield
    forget_stores()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_cache(clock: Clock) -> Callable[..., MemoryCache]:
    """Make an instance for LOCATION "loc" (or another) with OPTIONS given as keywords."""

    def make(
        location: str = "loc", params: dict[str, Any] | None = None, **options: Any
    ) -> MemoryCache:
        return MemoryCache(location, {**(params or {}), "OPTIONS": {"CLOCK": clock, **options}})

    return make


@pytest.fixture
def cache(new_cache: Callable[..., MemoryCache]) -> MemoryCache:
    return new_cache()


@pytest.fixture(params=["", "a"], ids=["sync", "async"])
def door(request: pytest.FixtureRequest, cache: MemoryCache) -> Door:
    return Door(cache, request.param)
