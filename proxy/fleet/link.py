"""What a gateway has to do with the other replicas."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.core.messages import StoredResponse
from proxy.fleet.errors import FleetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from proxy.fleet.lease import Lease
    from proxy.fleet.position import SharedPosition
    from proxy.fleet.service import Fleet
    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge


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
        """Give up what is still to be shared."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def find(
        self, key: str, useful: Callable[[StoredResponse], bool]
    ) -> StoredResponse | Errand:
        """What another replica has stored and is of use; or leave to ask the origin.

        Waits for a replica that asks already, a few seconds at most. Raises nothing.
        """
        mark = self._fleet.tier.mark
        found = await self._fleet.tier.get(key)
        if found is not None and useful(found) and not self._has_more_to_hear():
            return found
        got = await self._fleet.leases.take(key, useful)
        if self._has_more_to_hear():
            # Another worker's purge may forbid what was found.
            lease = self._fleet.leases.void() if isinstance(got, StoredResponse) else got
            return Errand(self, key, mark, lease, None)
        if isinstance(got, StoredResponse):
            return got
        return Errand(self, key, mark, got, found)

    async def share(self, key: str, response: StoredResponse, mark: StreamId) -> bool:
        """Store a response for the others; was it?"""
        if isinstance(response.body, memoryview):
            response = replace(response, body=bytes(response.body))
        return await self._fleet.tier.put(key, response, mark)

    async def publish(self, purge: Purge) -> StreamId | None:
        """Tell the others of a purge, before it is carried out here; None if they were not."""
        try:
            at = await self._fleet.stream.publish(purge)
        except FleetUnavailableError:
            return None
        self._position.publish(at)
        return at

    async def finish(self, purge: Purge, at: StreamId | None) -> None:
        """The purge has been carried out here."""
        if at is not None:
            self._position.finish(at)
        if not purge.soft:
            await self._fleet.tier.remove(purge.keys)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Go on with something in the background."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _has_more_to_hear(self) -> bool:
        """Has a worker of this server published a purge that has not come through the stream?"""
        return self._fleet.rules.latest < self._position.known
