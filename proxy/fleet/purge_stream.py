"""Carries purges to every replica through a Redis stream, which each reads on where it stopped.

Attaching, at the start and whenever the connection was lost:

    1. Ask the server's time and which run of the server it is. A run that the stream does not
       know, or no stream at all, means that entries may have been lost: say so in the stream.
    2. Look for the entry that was read last. If it is not there, the stream was trimmed beyond
       it, or the server lost its data: purges may have been missed, so mistrust().
    3. Read what is new, at the start all there is, since rules about the second tier depend on it.

Then follow: block for a second at a time, and in between see whether the stream is still the same.
As every stream begins with an entry that says "lost", whoever finds his last entry in place has
missed nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from proxy.fleet import metrics, purge_message
from proxy.fleet.errors import FleetUnavailableError
from proxy.fleet.position import PositionInMemory
from proxy.fleet.purge_applier import PurgeApplier
from proxy.fleet.purge_outbox import PurgeOutbox
from proxy.fleet.redis_stream import BATCH, DetachedError, RedisStream
from proxy.fleet.stream_id import BEGINNING, StreamId

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.fleet.clock import FleetClock
    from proxy.fleet.guard import Guard
    from proxy.fleet.position import Position
    from proxy.fleet.purge_rules import PurgeRules
    from proxy.fleet.redis_stream import Entries
    from proxy.purge import Purge

logger = logging.getLogger("s3proxy.fleet")

_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 0.1, 2.0
_CLOCK_SECONDS = 30.0
# However many purges come.
_LOOK_SECONDS = 3.0


class PurgeStream:
    """``apply`` carries a purge out here; ``mistrust`` makes everything stored before stale.

    Both are called on the event loop and must not wait. They have to cover what is being fetched.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        guard: Guard,
        rules: PurgeRules,
        clock: FleetClock,
        *,
        apply: Callable[[Purge, StreamId], object],
        mistrust: Callable[[], object],
        position: Position | None = None,
    ) -> None:
        self._stream = RedisStream(url, namespace, guard, clock)
        self._rules = rules
        self._clock = clock
        self._mistrust = mistrust
        self._position: Position = PositionInMemory() if position is None else position
        self._applier = PurgeApplier(apply, self._position)
        self._outbox = PurgeOutbox(self._stream, rules, self._position, self._update_rules)
        self._read_to = BEGINNING
        self._clock_set = 0.0
        self._looked_after = 0.0
        self._task: asyncio.Task[None] | None = None
        self.caught_up = asyncio.Event()
        # What begins without a position has missed nothing that it could have stored.
        self._counts_mistrust = False
        self._following = False
        self._lost_since = time.time()

    @property
    def following(self) -> bool:
        """Is every purge known here within the time that it takes to travel?"""
        return self._following

    @property
    def read_to(self) -> StreamId:
        """The entry up to which the rules are complete."""
        return self._read_to

    @property
    def lost_since(self) -> float | None:
        """Seconds since the epoch when following ended, or when it was first tried."""
        return None if self._following else self._lost_since

    @property
    def waiting(self) -> int:
        """Purges that are to be published once Redis can be reached."""
        return self._outbox.waiting

    @property
    def left_to_senders(self) -> int:
        """Purges from this server that their senders have not carried out yet."""
        return self._applier.left_to_senders

    def start(self) -> None:
        """Begin to read."""
        # Of the workers the metric tells the least, in which one that has said nothing does not
        # count.
        metrics.following.set(self._following)
        self._task = asyncio.create_task(self._read_for_ever(), name="purge stream")

    async def aclose(self) -> None:
        """Stop reading."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # Again and again: a client library that is just closing a connection may swallow it.
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        await self._applier.aclose()
        self._follow(now=False)

    async def publish(self, purge: Purge, sender: bytes = b"") -> StreamId:
        """Send a purge to the other replicas; call it before carrying the purge out here.

        After it the second tier gives nothing here that the purge forbids. Raises
        FleetUnavailableError: then the others do not know it yet. It will be sent once Redis can be
        reached, if this process lives so long; until then the second tier is not used here.
        """
        return await self._outbox.send(purge, sender)

    async def _read_for_ever(self) -> None:
        rest = _FIRST_REST_SECONDS
        while True:
            try:
                await self._attach()
                rest = _FIRST_REST_SECONDS
                while True:
                    await self._read_on()
            except (FleetUnavailableError, DetachedError):
                self._follow(now=False)
            except Exception:
                logger.exception("reading the purge stream ended in a defect of the proxy")
                self._follow(now=False)
            # Replicas that lost the same server must not return in step.
            await asyncio.sleep(rest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            rest = min(_LONGEST_REST_SECONDS, rest * 2)

    async def _attach(self) -> None:
        await self._set_clock()
        first = await self._find_whole()
        continued = self._read_to != BEGINNING and await self._stream.holds(self._read_to)
        await self._judge_position(first)
        if not continued:
            self._rules.forget_all()
            # What came before the first entry that is left is not known.
            self._rules.distrust_before(first.before)
            self._read_to = first.before
        more = True
        while more:
            entries = await self._stream.entries_after(self._read_to)
            self._take(entries)
            more = len(entries) == BATCH
        await self._outbox.send_what_is_owed()
        self._follow(now=True)
        self._counts_mistrust = True
        self.caught_up.set()

    async def _find_whole(self) -> StreamId:
        """The id of the first entry of a stream that says where it may not be whole."""
        first, _last = await self._stream.ends()
        run = await self._stream.run()
        known_run = await self._stream.known_run()
        if first is None or known_run != run:
            await self._stream.insist_on_lost()
            await self._stream.know_run(run)
            first, _last = await self._stream.ends()
            if first is None:
                raise DetachedError("the stream vanishes")
        return first

    async def _judge_position(self, first: StreamId) -> None:
        """See whether something stored here may have missed a purge."""
        at = self._position.get()
        self._counts_mistrust = at != BEGINNING
        if at != BEGINNING and await self._stream.holds(at):
            return
        if at >= first:
            # Not trimmed, but forgotten by the server, so that others have missed it.
            await self._stream.insist_on_lost()
        if at != BEGINNING:
            logger.warning("purges may have been missed: everything stored has to be validated")
        self._distrust()
        self._position.set(BEGINNING)

    async def _read_on(self) -> None:
        entries = await self._stream.next_after(self._read_to)
        self._take(entries)
        if not entries or time.monotonic() - self._looked_after > _LOOK_SECONDS:
            await self._look_after()

    async def _look_after(self) -> None:
        """What is to be done now and then."""
        self._looked_after = time.monotonic()
        _first, last = await self._stream.ends()
        if last is None or last < self._read_to:
            raise DetachedError("the stream is another one")
        if time.monotonic() - self._clock_set > _CLOCK_SECONDS:
            await self._set_clock()
        await self._outbox.send_what_is_owed()

    async def _set_clock(self) -> None:
        await self._stream.set_clock()
        self._clock_set = time.monotonic()

    def _take(self, entries: Entries) -> None:
        for name, fields in entries:
            at = StreamId.parse(name)
            purge = purge_message.decode(fields)
            new = at > self._position.get()
            # Before anything is done about it: what other workers get from the tier, not knowing
            # of it, would come back to where it has just been removed.
            self._position.hear(at)
            if purge is None:
                self._rules.distrust_before(at)
                if new:
                    self._distrust()
            else:
                self._rules.add(at, purge)
                if new:
                    self._applier.take(purge, at, purge_message.sender_of(fields))
                    metrics.applied.inc()
                    now = self._clock.now()
                    if now is not None:
                        metrics.lag.set(max(0.0, now - at.seconds))
            if new:
                self._position.set(at)
            self._read_to = at

    def _distrust(self) -> None:
        if self._counts_mistrust:
            metrics.mistrusts.inc()
        self._mistrust()

    def _follow(self, *, now: bool) -> None:
        if self._following and not now:
            self._lost_since = time.time()
        self._following = now
        metrics.following.set(now)
        self._update_rules()

    def _update_rules(self) -> None:
        self._rules.current = self._following and not self._outbox.owes
