"""Opens what replicas share, as configured, once for each event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from django.core.cache import caches

from proxy import conf
from proxy.fleet import metrics
from proxy.fleet.breaker import Breaker, State
from proxy.fleet.cache import RedisCache
from proxy.fleet.clients import close_clients
from proxy.fleet.clock import FleetClock
from proxy.fleet.errors import host_of
from proxy.fleet.guard import Guard
from proxy.fleet.lease import LAPSE_SECONDS, Leases
from proxy.fleet.purge_rules import PurgeRules
from proxy.fleet.purge_stream import PurgeStream
from proxy.fleet.second_tier import SecondTier, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.fleet.position import Position
    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge
    from s3proxy_site.env import Config

logger = logging.getLogger("s3proxy.fleet")

# A replica that starts while Redis cannot be reached waits so long, then serves without.
START_SECONDS = 10.0
# A Redis that stays away is told of so often.
_TELL_SECONDS = 60.0

_fleets: WeakKeyDictionary[asyncio.AbstractEventLoop, Fleet] = WeakKeyDictionary()


class Fleet:
    """The second tier, its leases, the stream of purges, and how they are."""

    def __init__(
        self,
        tier: SecondTier,
        leases: Leases,
        rules: PurgeRules,
        stream: PurgeStream,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tier = tier
        self.leases = leases
        self.rules = rules
        self.stream = stream
        self._clock = clock
        self._ready_at = clock() + START_SECONDS

    @property
    def ready(self) -> bool:
        """Is this replica to get requests? Without Redis too, once it has had its chance."""
        return self.stream.caught_up.is_set() or self._clock() >= self._ready_at

    @property
    def status(self) -> str:
        """``ok``, or what is wrong with Redis, without its secrets."""
        lost_since = self.stream.lost_since
        if lost_since is None:
            since = guard().breaker.failing_since
            return "ok" if since is None else f"failing since {_moment(since)}"
        if self.ready:
            return f"unreachable since {_moment(lost_since)}"
        if guard().breaker.failing_since is None:
            return "catching up with the purges of other replicas"
        return f"unreachable since {_moment(lost_since)}, waiting up to {START_SECONDS:g} s for it"

    async def aclose(self) -> None:
        """Stop following the stream, and renewing leases."""
        await self.leases.aclose()
        await self.stream.aclose()


@functools.cache
def guard() -> Guard:
    """This process's guard before Redis."""
    return Guard(Breaker(_Teller("all").tell), Breaker(_Teller("writes").tell))


def running() -> Fleet | None:
    """The running loop's fleet, if there is one."""
    return _fleets.get(asyncio.get_running_loop())


def open_fleet(
    config: Config,
    *,
    apply: Callable[[Purge, StreamId], object],
    mistrust: Callable[[], object],
    position: Position | None = None,
) -> Fleet | None:
    """Begin to share with other replicas; None without REDIS_URL. Called on the event loop."""
    if config.redis_url is None:
        return None
    namespace = namespace_of(config.s3_endpoint, config.s3_bucket)
    rules, clock, cache = PurgeRules(), FleetClock(), caches["shared"]
    tier = SecondTier(
        cache, guard(), rules, clock, namespace=namespace, most_bytes=config.max_object_size
    )
    stream = PurgeStream(
        config.redis_url,
        namespace,
        guard(),
        rules,
        clock,
        apply=apply,
        mistrust=mistrust,
        position=position,
    )
    # Memcached counts whole ticks of its clock: of what is to last a second nothing may be left.
    lapse = LAPSE_SECONDS if isinstance(cache, RedisCache) else LAPSE_SECONDS + 1
    fleet = Fleet(tier, Leases(cache, guard(), tier, lapse=lapse), rules, stream)
    _fleets[asyncio.get_running_loop()] = fleet
    stream.start()
    return fleet


async def close_fleet() -> None:
    """Close the running loop's fleet, if there is one."""
    fleet = _fleets.pop(asyncio.get_running_loop(), None)
    if fleet is not None:
        await fleet.aclose()
    await close_clients()


class _Teller:
    """Counts the states of a breaker, and logs them: a failure that lasts now and then."""

    def __init__(self, calls: str) -> None:
        self._calls = calls
        self._quiet_until = 0.0
        self._is_told = False

    def tell(self, state: State, reason: str) -> None:
        """To be called with each new state of the breaker."""
        metrics.breaker[self._calls].set(state.value)
        if state is State.OPEN:
            metrics.breaker_opened[self._calls].inc()
            now = time.monotonic()
            if now >= self._quiet_until:
                self._quiet_until = now + _TELL_SECONDS
                self._is_told = True
                logger.warning("redis cannot be used: %s", reason, extra=self._extra(reason))
        elif state is State.CLOSED and self._is_told:
            self._is_told = False
            logger.info("redis is used again", extra=self._extra(reason))

    def _extra(self, reason: str) -> dict[str, str | None]:
        url = conf.config().redis_url
        return {
            "variable": "REDIS_URL",
            "redis": None if url is None else host_of(url),
            "calls": self._calls,
            "reason": reason,
        }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
