"""Redis clients, one for each event loop and purpose."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.fleet.guard import BOUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Hashable

# Each answer takes a fraction of a millisecond; to connect takes several, all at once too long.
_MOST_CONNECTIONS = 12

# Connections belong to the loop that opened them.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Redis]] = WeakKeyDictionary()


def client(url: str, answer_seconds: float = BOUND_SECONDS) -> Redis:
    """The running loop's client, which waits so long for an answer and tries nothing twice."""
    known = _clients.setdefault(asyncio.get_running_loop(), {})
    found = known.get((url, answer_seconds))
    if found is None:
        found = known[url, answer_seconds] = _connected_to(url, answer_seconds)
    return found


async def close_clients() -> None:
    """Close the running loop's clients."""
    for found in _clients.pop(asyncio.get_running_loop(), {}).values():
        await found.aclose()


def _connected_to(url: str, answer_seconds: float) -> Redis:
    options: dict[str, Any] = {
        "socket_connect_timeout": BOUND_SECONDS,
        "socket_timeout": answer_seconds,
        "timeout": BOUND_SECONDS,
        "max_connections": _MOST_CONNECTIONS,
        # Whether to try again is for the circuit breaker to say.
        "retry": Retry(NoBackoff(), 0),
        # All servers speak it, and connecting takes fewer round trips.
        "protocol": 2,
    }
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(url, **options)
    return Redis.from_pool(pool)
