"""Carries out the purges that the stream brings, each once on a server.

A purge that was sent from here is its sender's to carry out: once more would remove what has been
stored since. Only where the sender dies over it somebody else has to.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.fleet.position import Position
    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge

# Seconds until a sender that has not carried out its purge is taken for dead.
SENDER_SECONDS = 5.0
_PAUSE = 0.05


class PurgeApplier:
    """``apply`` carries a purge out here, on the event loop, without waiting."""

    def __init__(self, apply: Callable[[Purge, StreamId], object], position: Position) -> None:
        self._apply = apply
        self._position = position
        self._left_to_senders: set[asyncio.Task[None]] = set()

    @property
    def left_to_senders(self) -> int:
        """Purges whose senders have not carried them out yet."""
        return len(self._left_to_senders)

    def take(self, purge: Purge, at: StreamId, sender: bytes) -> None:
        """Carry it out, now or when its sender on this server has not done so in time."""
        number = self._position.number_of(sender)
        if number is None:
            self._apply(purge, at)
        elif not self._position.is_finished(number):
            task = asyncio.create_task(self._leave_to_sender(purge, at, number))
            self._left_to_senders.add(task)
            task.add_done_callback(self._left_to_senders.discard)

    async def aclose(self) -> None:
        """Leave to their senders what is left to them."""
        for left in self._left_to_senders:
            left.cancel()
        await asyncio.gather(*self._left_to_senders, return_exceptions=True)

    async def _leave_to_sender(self, purge: Purge, at: StreamId, number: int) -> None:
        until = time.monotonic() + SENDER_SECONDS
        while not self._position.is_finished(number):
            if time.monotonic() > until:
                self._apply(purge, at)
                return
            await asyncio.sleep(_PAUSE)
