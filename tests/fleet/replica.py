"""A replica's share in the fleet, without the proxy around it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from proxy.core.freshness import Freshness
from proxy.core.messages import StoredResponse
from proxy.fleet.breaker import Breaker
from proxy.fleet.cache import RedisCache
from proxy.fleet.clients import close_clients
from proxy.fleet.clock import FleetClock
from proxy.fleet.guard import Guard
from proxy.fleet.lease import Leases
from proxy.fleet.position import Position, PositionInMemory
from proxy.fleet.purge_rules import PurgeRules
from proxy.fleet.purge_stream import PurgeStream
from proxy.fleet.second_tier import SecondTier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from django.core.cache.backends.base import BaseCache

    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge
    from proxy.store import Store


class Replica:
    """``bound`` is wide where a busy machine must not look like a slow Redis.

    ``cache`` is the second tier, if not Redis; purges go to a ``store``, if there is one.
    """

    def __init__(
        self,
        url: str,
        *,
        bound: float = 1.0,
        position: Position | None = None,
        lease: int = 5,
        lapse: int = 3,
        cache: BaseCache | None = None,
        store: Store | None = None,
    ) -> None:
        self.applied: list[Purge] = []
        self.mistrusts = 0
        self.guard = Guard(Breaker(), Breaker(), bound)
        self.rules, self.clock = PurgeRules(), FleetClock()
        self.position = position or PositionInMemory()
        cache = RedisCache(url, {}) if cache is None else cache
        self._store = store
        self.tier = SecondTier(
            cache, self.guard, self.rules, self.clock, namespace="test", most_bytes=2**24
        )
        self.leases = Leases(cache, self.guard, self.tier, seconds=lease, lapse=lapse)
        self.stream = PurgeStream(
            url,
            "test",
            self.guard,
            self.rules,
            self.clock,
            apply=self._apply,
            mistrust=self._mistrust,
            position=self.position,
        )

    def _apply(self, purge: Purge, _at: StreamId) -> None:
        self.applied.append(purge)
        if self._store is not None:
            self._store.purge_at_once(purge, time.time())

    def _mistrust(self) -> None:
        self.mistrusts += 1
        if self._store is not None:
            self._store.mistrust()


_joined: set[Replica] = set()


@asynccontextmanager
async def joined(url: str, **options: object) -> AsyncIterator[Replica]:
    """A replica that has caught up."""
    replica = Replica(url, **options)  # type: ignore[arg-type]
    _joined.add(replica)
    replica.stream.start()
    try:
        await until(lambda: replica.stream.following)
        yield replica
    finally:
        await replica.leases.aclose()
        await replica.stream.aclose()
        _joined.discard(replica)
        if not _joined:
            await close_clients()


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait for a condition; raises AssertionError when it does not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.005)


def response(
    body: bytes = b"hello", *, lifetime: float = 300.0, age: float = 0.0
) -> StoredResponse:
    """A 200 that arrived now."""
    now = time.time()
    return StoredResponse(
        200,
        ((b"content-type", b"text/plain"), (b"etag", b'"v"')),
        body,
        len(body),
        '"v"',
        None,
        now,
        age,
        now,
        Freshness(lifetime, 120.0, 3600.0),
    )
