"""One origin request in the fleet for a key: who holds its lease asks, others wait for the tier.

A lease is short, and renewed for as long as its holder asks. So what nobody works on does not keep
others waiting: the lease of a holder that died; one that could not be released; and one that Redis
writes down late, when the call that was to take it has long been given up.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from typing import TYPE_CHECKING

from proxy.fleet import metrics
from proxy.fleet.errors import FleetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.cache.backends.base import BaseCache

    from proxy.core.messages import StoredResponse
    from proxy.fleet.guard import Guard
    from proxy.fleet.second_tier import SecondTier

# So long a lease is renewed: nobody waits longer for one holder, nor for more than two.
LEASE_SECONDS = 5
# What a lease that is not renewed costs those who wait. Whole seconds, as caches count them.
LAPSE_SECONDS = 1
# Most origin requests take less, and cost no renewal.
_RENEW_SECONDS = 0.25
# A lease that is over is seen to be so a little later.
_SEEN_SECONDS = 0.5
# For so long after a response that is not for the tier nobody waits for the next of its kind.
_NO_USE_SECONDS = 2
_FIRST_INTERVAL, _LONGEST_INTERVAL, _GROWTH = 0.004, 0.1, 1.5
_NO_USE = b"no use"


class Lease:
    """Leave to ask the origin; release() is called once it is known what came of that."""

    def __init__(self, leases: Leases, name: str | None, taken: float, lapses: float) -> None:
        self.taken = taken
        self.lapses = lapses
        self._leases = leases
        self._name = name

    @property
    def held(self) -> bool:
        """Does the fleet know of it? One that is not keeps nobody waiting."""
        return self._name is not None

    async def release(self, *, stored: bool) -> None:
        """Let go who waits: the response is in the tier, or it will not be. Raises nothing."""
        name, self._name = self._name, None
        if name is not None:
            await self._leases.release(self, name, stored=stored)


class Leases:
    """The leases of one tier, in the same cache.

    ``seconds`` is for how long one is renewed, ``lapse`` how long it lasts otherwise; that has to
    be more than the guard's bound.
    """

    def __init__(
        self,
        cache: BaseCache,
        guard: Guard,
        tier: SecondTier,
        *,
        seconds: int = LEASE_SECONDS,
        lapse: int = LAPSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._guard = guard
        self._tier = tier
        self._seconds = seconds
        self._lapse = lapse
        self._clock = clock
        self._held: dict[Lease, str] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Renew no lease any more."""
        self._held.clear()
        task, self._renewing = self._renewing, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def take(
        self, key: str, useful: Callable[[StoredResponse], bool] = lambda _: True
    ) -> Lease | StoredResponse:
        """A lease, or a response that another replica has put into the tier meanwhile.

        Waits for another's lease to end, for as long as one lasts at most. ``useful``: is what
        the tier has what is waited for? Raises nothing: without Redis everyone has a lease.
        """
        if not self._tier.readable:
            # What others bring could not be had from there.
            metrics.leases["unavailable"].inc()
            return self.void()
        name = self._tier.lease_name_of(key)
        began = self._clock()
        try:
            found = await self._take(key, name, useful, began)
        except FleetUnavailableError:
            metrics.leases["unavailable"].inc()
            found = self.void()
        waited = self._clock() - began
        if waited >= _FIRST_INTERVAL:
            metrics.lease_wait.observe(waited)
        return found

    async def release(self, lease: Lease, name: str, *, stored: bool) -> None:
        """See Lease.release()."""
        self._held.pop(lease, None)
        if self._clock() > lease.lapses - self._guard.bound:
            return  # it may be another's by the time the answer comes
        try:
            if stored:
                await self._guard.call(lambda: self._cache.adelete(name))
            else:
                await self._guard.write(
                    lambda: self._cache.aset(name, _NO_USE, timeout=_NO_USE_SECONDS)
                )
        except FleetUnavailableError:
            return  # it lapses

    async def _take(
        self, key: str, name: str, useful: Callable[[StoredResponse], bool], began: float
    ) -> Lease | StoredResponse:
        interval = _FIRST_INTERVAL
        waits_for, until = None, 0.0
        while True:
            token = secrets.token_bytes(16)
            asked = self._clock()
            added = await self._guard.write(
                lambda token=token: self._cache.aadd(name, token, timeout=self._lapse)  # type: ignore[misc]
            )
            if added:
                lease = Lease(self, name, asked, asked + self._lapse)
                # The holder before may have stored since the tier was looked into.
                response = await self._tier.get(key)
                if response is None or not useful(response):
                    metrics.leases["taken"].inc()
                    self._hold(lease, name)
                    return lease
                await lease.release(stored=True)
                metrics.leases["shared"].inc()
                return response
            holder = await self._guard.call(lambda: self._cache.aget(name))
            while holder is not None and holder != _NO_USE:
                now = self._clock()
                if holder != waits_for:
                    waits_for = holder
                    until = min(now + self._seconds + _SEEN_SECONDS, began + 2 * self._seconds)
                if now + interval > until:
                    metrics.leases["timeout"].inc()
                    return self.void()
                await asyncio.sleep(interval * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
                interval = min(_LONGEST_INTERVAL, interval * _GROWTH)
                holder = await self._guard.call(lambda: self._cache.aget(name))
            if holder == _NO_USE:
                metrics.leases["released"].inc()
                return self.void()
            response = await self._tier.get(key)
            if response is not None and useful(response):
                metrics.leases["shared"].inc()
                return response

    def void(self) -> Lease:
        """A lease that keeps nobody waiting."""
        return Lease(self, None, 0.0, 0.0)

    def _hold(self, lease: Lease, name: str) -> None:
        self._held[lease] = name
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew_held(), name="fleet leases")

    async def _renew_held(self) -> None:
        while self._held:
            await asyncio.sleep(_RENEW_SECONDS)
            now = self._clock()
            due = [
                self._renew(lease, name, now)
                for lease, name in self._held.items()
                if now >= lease.taken + _RENEW_SECONDS
            ]
            await asyncio.gather(*due)

    async def _renew(self, lease: Lease, name: str, now: float) -> None:
        lapses = now + self._lapse
        if lapses > lease.taken + self._seconds or now > lease.lapses - self._guard.bound:
            self._held.pop(lease, None)  # it has had its time, or may be another's by now
            return
        try:
            renewed = await self._guard.call(lambda: self._cache.atouch(name, self._lapse))
        except FleetUnavailableError:
            return  # it is tried again
        lease.lapses = lapses if renewed else now
