"""The purges that the other replicas have yet to be told of."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from proxy.fleet import metrics, purge_message
from proxy.fleet.errors import FleetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.fleet.position import Position
    from proxy.fleet.purge_rules import PurgeRules
    from proxy.fleet.redis_stream import RedisStream
    from proxy.fleet.stream_id import StreamId
    from proxy.purge import Purge

# So many purges wait for Redis to come back; of more it is only known that there were some.
MOST_WAITING = 256


class _Waiting(NamedTuple):
    """A purge, with what the stream is to have as its sender."""

    purge: Purge
    sender: bytes


class PurgeOutbox:
    """Sends purges in the order in which they came; ``changed`` is called when ``owes`` may differ.

    Of more than can wait only one entry is sent, which says "lost".
    """

    def __init__(
        self,
        stream: RedisStream,
        rules: PurgeRules,
        position: Position,
        changed: Callable[[], object],
    ) -> None:
        self._stream = stream
        self._rules = rules
        self._position = position
        self._changed = changed
        self._waiting: deque[_Waiting] = deque()
        self._owes_lost = False
        self._sending = asyncio.Lock()

    @property
    def owes(self) -> bool:
        """Is there anything that the others do not know yet?"""
        return bool(self._waiting) or self._owes_lost

    @property
    def waiting(self) -> int:
        """Purges that are to be sent once Redis can be reached."""
        return len(self._waiting)

    async def send(self, purge: Purge, sender: bytes) -> StreamId:
        """The id of its entry; raises FleetUnavailableError, and keeps it to be sent later."""
        self._waiting.append(_Waiting(purge, sender))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
            self._owes_lost = True
        self._changed()
        try:
            at = await self._send_all()
        except FleetUnavailableError:
            # Other workers must not use the tier either.
            self._position.owe(now=True)
            metrics.published["delayed"].inc()
            raise
        metrics.published["ok"].inc()
        return at

    async def send_what_is_owed(self) -> None:
        """Try to: what does not go now is to be tried again."""
        if self._position.inherit():
            self._owes_lost = True
            self._changed()
        if self.owes:
            with contextlib.suppress(FleetUnavailableError):
                await self._send_all()

    async def _send_all(self) -> StreamId:
        """The id of the last one; raises FleetUnavailableError."""
        async with self._sending:
            if self._owes_lost:
                self._position.hear(await self._stream.add_lost())
                self._owes_lost = False
            at = self._rules.latest
            while self._waiting:
                first = self._waiting[0]
                at = await self._stream.add(purge_message.encode(*first))
                self._rules.add(at, first.purge)
                self._position.hear(at)
                # Unless an overflow has emptied the queue meanwhile.
                if self._waiting and self._waiting[0] is first:
                    self._waiting.popleft()
            self._changed()
            self._position.owe(now=self._owes_lost)
            return at
