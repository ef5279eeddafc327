"""A gateway's link to the other replicas, over which it finds, shares, purges responses."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.messages import StoredResponse
from proxy.fleet.errors import FleetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from proxy.fleet.lease import Lease
    from proxy.fleet.service import Fleet
    from proxy.fleet.shared_position import SharedPosition
    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge


# An entry of the stream reaches one worker this much later than another, at the most.
_HEARING_SECONDS, _HEARING_PAUSE = 0.25, 0.002
# What a worker that stops has left for telling the others.
_LAST_SECONDS = 1.0


class Published(NamedTuple):
    """A purge by its number on this server; ``everywhere``: can all replicas hear of it?"""

    number: int
    everywhere: bool


class Errand:
    """Leave to ask the origin on behalf of all replicas, from ``mark`` on.

    ``known`` is what they have already, though it has to be validated.
    """

    def __init__(
        self, link: Link, key: str, mark: StreamId, lease: Lease, known: StoredResponse | None
    ) -> None:
        self.known = known
        self._link = link
        self._key = key
        self._mark = mark
        self._lease = lease

    def end(self, response: StoredResponse | None) -> None:
        """Share what came of it, in the background, and let go who waits; None is for nobody."""
        self._link.spawn(self._end(response))

    async def _end(self, response: StoredResponse | None) -> None:
        shared = response is not None and await self._link.share(self._key, response, self._mark)
        await self._lease.release(stored=shared)


class Link:
    """One worker's part in the fleet."""

    def __init__(self, fleet: Fleet, position: SharedPosition) -> None:
        self._fleet = fleet
        self._position = position
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Share what is still to be shared, as long as a few calls take."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def find(
        self, key: str, useful: Callable[[StoredResponse], bool]
    ) -> StoredResponse | Errand:
        """What another replica has stored and is of use; or leave to ask the origin.

        Waits for a replica that asks already, a few seconds at most. Raises nothing.
        """
        await self._hear()
        mark = self._fleet.tier.mark
        found = await self._fleet.tier.get(key)
        if found is not None and useful(found) and self._is_informed:
            return found
        got = await self._fleet.leases.take(key, useful)
        if self._is_informed:
            return got if isinstance(got, StoredResponse) else Errand(self, key, mark, got, found)
        # A purge of which only another worker knows may forbid what was found.
        lease = self._fleet.leases.void() if isinstance(got, StoredResponse) else got
        return Errand(self, key, mark, lease, None)

    async def share(self, key: str, response: StoredResponse, mark: StreamId) -> bool:
        """Store a response for the others; was it?"""
        if isinstance(response.body, memoryview):
            response = replace(response, body=bytes(response.body))
        return await self._fleet.tier.put(key, response, mark)

    async def publish(self, purge: Purge) -> Published:
        """Tell the others of a purge, before it is carried out here. Raises nothing."""
        if not purge.soft:
            # Only to make room, so first: later it might remove what replaces the purged.
            await self._fleet.tier.remove(purge.keys)
        number = self._position.begin()
        try:
            await self._fleet.stream.publish(purge, self._position.name_of(number))
        except FleetUnavailableError:
            return Published(number, everywhere=False)
        return Published(number, everywhere=True)

    def finish(self, published: Published) -> None:
        """The purge has been carried out here."""
        self._position.finish(published.number)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Go on with something in the background."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _is_informed(self) -> bool:
        """May the second tier be used, for all that any worker of this server knows?"""
        position = self._position
        return self._fleet.stream.read_to >= position.known and not position.owes

    async def _hear(self) -> None:
        """Wait for the purges that other workers know of; they are on their way."""
        until = time.monotonic() + _HEARING_SECONDS
        while (  # noqa: ASYNC110 - another process may know
            self._fleet.rules.current
            and self._fleet.stream.read_to < self._position.known
            and time.monotonic() < until
        ):
            await asyncio.sleep(_HEARING_PAUSE)
