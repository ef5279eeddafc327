"""A gateway in front of an origin that does as it is told."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from prometheus_client import REGISTRY

from tests.gateway.subject import Clock, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.origins import ScriptedOrigin


class NewProxy(Protocol):
    """Makes a gateway with options of Proxy, closed when the test ends."""

    async def __call__(self, **options: Any) -> Proxy: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def new_proxy(origin: ScriptedOrigin, clock: Clock) -> AsyncIterator[NewProxy]:
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Proxy:
            chosen: dict[str, Any] = {"endpoint": origin.endpoint, "clock": clock, **options}
            return await stack.enter_async_context(Proxy(**chosen))

        yield make


@pytest.fixture
async def proxy(new_proxy: NewProxy) -> Proxy:
    return await new_proxy()


@pytest.fixture
def count() -> Callable[..., float]:
    """How far a metric has come since the test began."""
    before: dict[str, float] = {}

    def sample(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    for metric in REGISTRY.collect():
        for found in metric.samples:
            before[f"{found.name}{sorted(found.labels.items())}"] = found.value

    def since(name: str, **labels: str) -> float:
        return sample(name, **labels) - before.get(f"{name}{sorted(labels.items())}", 0.0)

    return since
