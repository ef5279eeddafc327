"""Whose turn it is to ask the origin for a key, among the processes of one server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.cache.leases import Lease, Leases
    from proxy.collapse import Flight
    from proxy.store import Found, Store

# How often a process that waits looks whether another is done: at first, and at the longest.
# What it looks at is memory, a microsecond or two each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.016


class Turns:
    """Lets one process at a time ask for a key; the others wait for what it stores.

    ``seconds`` is how long a process may hold its turn against the others, and so the longest
    that one waits for another that is alive. The turn of a process that dies ends at once.
    """

    def __init__(self, leases: Leases, store: Store, *, seconds: float) -> None:
        self._leases = leases
        self._store = store
        self._purge_log = store.purge_log
        self._seconds = seconds

    async def wait(self, flight: Flight, seen: Found | None) -> Lease | Found | None:
        """The turn; or what another process stored since ``seen`` was looked up.

        None where the flight has to go on its own: another's turn ended without anything stored,
        goes on for too long, or brings what was purged.
        """
        pause = _FIRST_PAUSE
        until = time.monotonic() + self._seconds
        while True:
            lease = self._leases.take(flight.key, flight.purges, time.monotonic(), self._seconds)
            found = self._stored_since(flight, seen)
            if found is not None:
                if lease is not None:
                    self.release(lease, stored=True)
                return found
            if lease is not None:
                return lease
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            now = time.monotonic()
            held = self._leases.held(flight.key, now)
            if now >= until or (
                held is not None
                and (held.gave_up or self._purge_log.has_purged(flight.key, held.purges))
            ):
                return None

    def release(self, lease: Lease, *, stored: bool) -> None:
        """End a turn; the others look into the store, or go on their own."""
        self._leases.release(lease, time.monotonic(), stored=stored)

    def _stored_since(self, flight: Flight, seen: Found | None) -> Found | None:
        found = self._store.look_up(flight.key)
        if found is None or (seen is not None and found.version == seen.version):
            return None
        purged = self._purge_log.has_purged(flight.key, flight.purges)
        return None if purged else found
