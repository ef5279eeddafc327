"""Stored responses by S3 key, in a Django cache with a stale window."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from proxy import metrics
from proxy.absences import ABSENT
from proxy.cache.values import ALWAYS
from proxy.purge import Purge

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from proxy.absences import Absences
    from proxy.cache.backend import MemoryCache
    from proxy.cache.purge_log import PurgeLog
    from proxy.cache.shared_store import BodyPlace
    from proxy.core.messages import StoredResponse


# How many keys of a purge are carried out before others have their turn: some milliseconds.
_SLICE = 500


class Found(NamedTuple):
    """A stored response, the slot that holds it, and the version of what is in the slot.

    ``body_place`` is where read() finds its body; None where it is to be looked up.
    """

    response: StoredResponse
    slot: int
    version: int
    body_place: BodyPlace | None


class Sighting(NamedTuple):
    """What was found under a key, if anything, after so many ``purges``."""

    found: Found | None
    purges: int

    @property
    def response(self) -> StoredResponse | None:
        """The response found."""
        return None if self.found is None else self.found.response


class Store:
    """The responses that the processes of one server hold, and the purges of them.

    Kept until evicted, however stale: the origin may confirm a stale one with a 304. ``absences``
    bounds those that say that there is no object.
    """

    def __init__(
        self, cache: MemoryCache, purge_log: PurgeLog, absences: Absences | None = None
    ) -> None:
        self._cache = cache
        self._absences = absences
        self.purge_log = purge_log
        # Asked with each hit: methods of the cache, without one of ours around them. use(slot,
        # version): is what was found there still there, unchanged? If so, that is a use of it.
        # read(slot, version, pieces): these of its body, None if it is not. splice(slot, version,
        # pieces, pipe): the same into a pipe.
        self.use, self.read, self.splice = cache.use, cache.read, cache.splice
        # See SharedCache.
        self.sketch = cache.sketch

    @property
    def entries(self) -> int:
        """How many responses are stored."""
        return self._cache.entries

    @property
    def bytes(self) -> int:
        """Their bytes, bookkeeping included."""
        return self._cache.bytes

    def look_up(self, key: str) -> Found | None:
        """The response stored under a key, fresh or stale; finding it is a use of it."""
        found = self._cache.lookup(key)
        return None if found is None else Found(*found)

    def sight(self, key: str) -> Sighting:
        """What is stored under a key, beside the purges that went before."""
        # In this order: a purge in between is one too many, and not one that goes unseen.
        purges = self.purge_log.sequence
        return Sighting(self.look_up(key), purges)

    def get(self, key: str) -> StoredResponse | None:
        """The response stored under a key, fresh or stale."""
        found = self.look_up(key)
        return None if found is None else found.response

    def holds(self, key: str) -> bool:
        """Is a response stored under the key, fresh or stale? Not a use of it."""
        return self._cache.holds(key)

    def put(
        self,
        key: str,
        response: StoredResponse,
        now: float,
        unless: Callable[[], bool] | None = None,
    ) -> bool:
        """Store a response in place of an older one; was it?

        Not where it is too large, nor where ``unless`` says so: it is asked in the same step.
        """
        fresh_for = max(0.0, response.freshness.lifetime - response.age(now))
        found = self._cache.put(key, response, timeout=fresh_for, stale=None, unless=unless)
        if self._absences is not None and found is not None:
            self._bound(self._absences, key, Found(*found))
        return found is not None

    def _bound(self, absences: Absences, key: str, found: Found) -> None:
        if found.response.status not in ABSENT:
            absences.forget(key)
            return
        absences.add(key, found)
        surplus = absences.take_surplus()
        if surplus is not None:
            oldest, slot, version = surplus
            # An object that another process stores there just now may go as well: it is fetched
            # again.
            if self.use(slot, version):
                metrics.evicted["absences"].inc(self.remove(oldest))

    def remove(self, key: str) -> bool:
        """Forget the response under a key; whether there was one."""
        return self._cache.remove(key)

    async def purge(self, purge: Purge, now: float) -> int:
        """Remove what a purge covers, or make it stale; how many responses that was.

        Written down first: what is being fetched meanwhile, by any process, is not stored.
        """
        work = self._carry_out(purge, now)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return int(end.value)
            await asyncio.sleep(0)

    def purge_at_once(self, purge: Purge, now: float) -> int:
        """As purge(), for those who cannot wait: a second for each million responses."""
        return _to_the_end(self._carry_out(purge, now))

    def mistrust(self) -> int:
        """Let nothing stored be sent before the origin has confirmed it; how much that was.

        For when purges may have been missed: so stale windows do not apply either.
        """
        self.purge_log.append(Purge(everything=True, soft=True))
        return _to_the_end(self._cache.mark_stale_matching(_everything, ALWAYS))

    def _carry_out(self, purge: Purge, now: float) -> Generator[None, None, int]:
        self.purge_log.append(purge)
        if purge.everything or purge.prefixes:
            if purge.soft:
                return (yield from self._cache.mark_stale_matching(purge.matches, now))
            purged = yield from self._cache.remove_matching(purge.matches)
        elif purge.soft:
            return (yield from _each(purge.keys, lambda key: self._cache.mark_stale(key, now)))
        else:
            purged = yield from _each(purge.keys, self.remove)
        metrics.evicted["purge"].inc(purged)
        return purged


def _each(keys: Iterable[str], change: Callable[[str], bool]) -> Generator[None, None, int]:
    """How many of the keys were changed; in steps, so that others have their turn."""
    changed = 0
    for number, key in enumerate(keys, 1):
        changed += change(key)
        if number % _SLICE == 0:
            yield
    return changed


def _to_the_end(work: Generator[None, None, int]) -> int:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return int(end.value)


def _everything(_key: str) -> bool:
    return True
