"""Carries purges to every replica through a Redis stream, which each reads on where it stopped.

Attaching, at the start and whenever the connection was lost:

    1. Ask the server's time and which run of the server it is. A run that the stream does not
       know, or no stream at all, means that entries may have been lost: say so in the stream.
    2. Look for the entry that was read last. If it is not there, the stream was trimmed beyond
       it, or the server lost its data: purges may have been missed, so mistrust().
    3. Read what is new, at the start all there is, since rules about the second tier depend on it.

Then follow: block for a second at a time, and in between see whether the stream is still the same.
A stream that vanishes begins anew with an entry that says "lost", because nobody adds a purge to a
stream that is not there. So whoever finds his last entry in place has missed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from proxy.fleet import metrics, purge_message
from proxy.fleet.clients import client
from proxy.fleet.errors import FleetUnavailableError
from proxy.fleet.position import PositionInMemory
from proxy.fleet.purge_rules import RETENTION_SECONDS
from proxy.fleet.stream_id import BEGINNING, StreamId

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from proxy.fleet.clock import FleetClock
    from proxy.fleet.guard import Guard
    from proxy.fleet.position import Position
    from proxy.fleet.purge_rules import PurgeRules
    from proxy.purge import Purge

logger = logging.getLogger("s3proxy.fleet")

# What a replica that starts has to read. Approximate: the server trims whole nodes.
MOST_ENTRIES = 20_000
# So many purges wait for Redis to come back; of more it is only known that there were some.
_MOST_WAITING = 256
_BLOCK_SECONDS = 1.0
# No request waits for the reader, so it may wait for long answers.
_READER_SECONDS = 2.0
_BATCH = 64
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 0.1, 2.0
_CLOCK_SECONDS = 30.0
# However many purges come.
_LOOK_SECONDS = 3.0
# Whoever sends a purge carries it out himself, unless he dies over it: seconds until that is so.
_SENDER_SECONDS, _SENDER_PAUSE = 5.0, 0.05


class _Waiting(NamedTuple):
    """A purge that the others have yet to be told of."""

    purge: Purge
    sender: bytes


class _DetachedError(Exception):
    """The stream is not what it was; attach again."""


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
        self._url = url
        self._name = f"s3proxy:{namespace}:purges"
        self._run_name = f"s3proxy:{namespace}:run"
        self._guard = guard
        self._rules = rules
        self._clock = clock
        self._apply = apply
        self._mistrust = mistrust
        self._position: Position = PositionInMemory() if position is None else position
        self._read_to = BEGINNING
        self._waiting: deque[_Waiting] = deque()
        self._owes_lost = False
        self._publishing = asyncio.Lock()
        self._clock_set = 0.0
        self._looked_after = 0.0
        self._task: asyncio.Task[None] | None = None
        self._left_to_senders: set[asyncio.Task[None]] = set()
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
        return len(self._waiting)

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._read_for_ever(), name="purge stream")

    async def aclose(self) -> None:
        """Stop reading."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # Again and again: a client library that is just closing a connection may swallow it.
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        for left in self._left_to_senders:
            left.cancel()
        await asyncio.gather(*self._left_to_senders, return_exceptions=True)
        self._follow(now=False)

    async def publish(self, purge: Purge, sender: bytes = b"") -> StreamId:
        """Send a purge to the other replicas; call it before carrying the purge out here.

        After it the second tier gives nothing here that the purge forbids. Raises
        FleetUnavailableError: then the others do not know it yet. It will be sent once Redis can be
        reached, if this process lives so long; until then the second tier is not used here.
        """
        self._waiting.append(_Waiting(purge, sender))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.clear()
            self._owes_lost = True
        self._update_rules()
        try:
            at = await self._publish_waiting()
        except FleetUnavailableError:
            # Other workers must not use the tier either.
            self._position.owe(now=True)
            metrics.published["delayed"].inc()
            raise
        metrics.published["ok"].inc()
        return at

    async def _publish_waiting(self) -> StreamId:
        """The id of the last one; raises FleetUnavailableError."""
        async with self._publishing:
            if self._owes_lost:
                self._position.hear(await self._guard.write(self._add_lost))
                self._owes_lost = False
            at = self._rules.latest
            while self._waiting:
                first = self._waiting[0]
                fields = purge_message.encode(*first)
                at = await self._guard.write(lambda fields=fields: self._add(fields))  # type: ignore[misc]
                self._rules.add(at, first.purge)
                self._position.hear(at)
                # Unless an overflow has emptied the queue meanwhile.
                if self._waiting and self._waiting[0] is first:
                    self._waiting.popleft()
            self._update_rules()
            self._position.owe(now=self._owes_lost)
            return at

    async def _add(self, fields: dict[Any, Any]) -> StreamId:
        redis = client(self._url)
        added = await self._try_to_add(redis, fields)
        if added is None:
            await self._add_lost()
            added = await self._try_to_add(redis, fields)
        if added is None:
            raise _DetachedError("the stream vanishes")
        return StreamId.parse(added)

    async def _try_to_add(self, redis: Redis, fields: dict[Any, Any]) -> bytes | None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.xadd(self._name, fields, nomkstream=True, maxlen=MOST_ENTRIES)
            now = self._clock.now()
            if now is not None:
                oldest = int((now - RETENTION_SECONDS) * 1000)
                pipe.xtrim(self._name, minid=f"{max(0, oldest)}-0")
            added: bytes | None = (await pipe.execute())[0]
        return added

    async def _add_lost(self) -> StreamId:
        added = await client(self._url).xadd(self._name, _lost(), maxlen=MOST_ENTRIES)
        return StreamId.parse(added)

    async def _read_for_ever(self) -> None:
        rest = _FIRST_REST_SECONDS
        while True:
            try:
                await self._attach()
                rest = _FIRST_REST_SECONDS
                while True:
                    await self._read_on()
            except (FleetUnavailableError, _DetachedError):
                self._follow(now=False)
            except Exception:
                logger.exception("reading the purge stream ended in a defect of the proxy")
                self._follow(now=False)
            # Replicas that lost the same server must not return in step.
            await asyncio.sleep(rest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            rest = min(_LONGEST_REST_SECONDS, rest * 2)

    async def _attach(self) -> None:
        redis = client(self._url, _READER_SECONDS)
        await self._ask_the_time()
        first, last = await self._ends(redis)
        run = await self._run(redis)
        known_run = await self._insist(redis.get(self._run_name))
        if last is None or known_run != run:
            await self._insist(redis.xadd(self._name, _lost()))
            await self._insist(redis.set(self._run_name, run))
            first, last = await self._ends(redis)
            if first is None or last is None:
                raise _DetachedError("the stream vanishes")
        assert first is not None
        continued = self._read_to != BEGINNING and await self._holds(redis, self._read_to)
        await self._judge_position(redis, first)
        if not continued:
            self._rules.forget_all()
            # What came before the first entry that is left is not known.
            self._rules.distrust_before(first.before)
            self._read_to = first.before
        while await self._read_batch(redis):
            pass
        await self._publish_what_is_owed()
        self._follow(now=True)
        self._counts_mistrust = True
        self.caught_up.set()

    async def _judge_position(self, redis: Redis, first: StreamId) -> None:
        """See whether something stored here may have missed a purge."""
        at = self._position.get()
        self._counts_mistrust = at != BEGINNING
        if at != BEGINNING and await self._holds(redis, at):
            return
        if at >= first:
            # Not trimmed, but forgotten by the server, so that others have missed it.
            await self._insist(redis.xadd(self._name, _lost()))
        if at != BEGINNING:
            logger.warning("purges may have been missed: everything stored has to be validated")
        self._distrust()
        self._position.set(BEGINNING)

    async def _holds(self, redis: Redis, at: StreamId) -> bool:
        return bool(await self._insist(redis.xrange(self._name, str(at), str(at), count=1)))

    async def _read_batch(self, redis: Redis) -> bool:
        """Apply some entries; may there be more?"""
        entries = await self._insist(
            redis.xrange(self._name, f"({self._read_to}", "+", count=_BATCH)
        )
        self._take(entries)
        return len(entries) == _BATCH

    async def _read_on(self) -> None:
        redis = client(self._url, _BLOCK_SECONDS + _READER_SECONDS)
        answer = await self._insist(
            redis.xread(
                {self._name: str(self._read_to)}, count=_BATCH, block=int(_BLOCK_SECONDS * 1000)
            ),
            # Longer than it blocks by what an answer may take.
            bound=_BLOCK_SECONDS + 2 * self._guard.bound,
        )
        for _name, entries in answer:
            self._take(entries)
        if not answer or time.monotonic() - self._looked_after > _LOOK_SECONDS:
            await self._look_after()

    async def _look_after(self) -> None:
        """What is to be done now and then."""
        self._looked_after = time.monotonic()
        _first, last = await self._ends(client(self._url, _READER_SECONDS))
        if last is None or last < self._read_to:
            raise _DetachedError("the stream is another one")
        if time.monotonic() - self._clock_set > _CLOCK_SECONDS:
            await self._ask_the_time()
        await self._publish_what_is_owed()

    async def _publish_what_is_owed(self) -> None:
        """Try to: what does not go now is tried again."""
        if self._position.inherit():
            self._owes_lost = True
            self._update_rules()
        if self._waiting or self._owes_lost:
            with contextlib.suppress(FleetUnavailableError):
                await self._publish_waiting()

    def _take(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
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
                    self._carry_out(purge, at, purge_message.sender_of(fields))
                    metrics.applied.inc()
                    now = self._clock.now()
                    if now is not None:
                        metrics.lag.set(max(0.0, now - at.seconds))
            if new:
                self._position.set(at)
            self._read_to = at

    def _carry_out(self, purge: Purge, at: StreamId, sender: bytes) -> None:
        number = self._position.number_of(sender)
        if number is None:
            self._apply(purge, at)
        elif not self._position.is_finished(number):
            # Once more would remove what has been stored since.
            task = asyncio.create_task(self._leave_to_sender(purge, at, number))
            self._left_to_senders.add(task)
            task.add_done_callback(self._left_to_senders.discard)

    async def _leave_to_sender(self, purge: Purge, at: StreamId, number: int) -> None:
        until = time.monotonic() + _SENDER_SECONDS
        while not self._position.is_finished(number):
            if time.monotonic() > until:
                self._apply(purge, at)
                return
            await asyncio.sleep(_SENDER_PAUSE)

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
        self._rules.current = self._following and not self._waiting and not self._owes_lost

    async def _ask_the_time(self) -> None:
        asked = time.monotonic()
        seconds, microseconds = await self._insist(
            client(self._url, _READER_SECONDS).time(), bound=self._guard.bound
        )
        self._clock_set = time.monotonic()
        self._clock.set(seconds + microseconds / 1e6, asked, self._clock_set)

    async def _run(self, redis: Redis) -> bytes:
        """Which run of the server it is: another one may have forgotten what it was told last."""
        about = await self._insist(redis.info("server"))
        return str(about.get("run_id", "unknown")).encode()

    async def _ends(self, redis: Redis) -> tuple[StreamId | None, StreamId | None]:
        """(id of the first entry, last id given out), None where there is no stream."""

        async def ask() -> dict[str, Any] | None:
            try:
                about: dict[str, Any] = await redis.xinfo_stream(self._name)
            except ResponseError as error:
                if "no such key" in str(error):
                    return None
                raise
            return about

        about = await self._guard.insist(ask, bound=_READER_SECONDS)
        if about is None or about["first-entry"] is None:
            return None, None
        return StreamId.parse(about["first-entry"][0]), StreamId.parse(about["last-generated-id"])

    async def _insist(self, answer: Any, *, bound: float = _READER_SECONDS) -> Any:
        async def ask() -> Any:
            return await answer

        return await self._guard.insist(ask, bound=bound)


def _lost() -> dict[Any, Any]:
    return dict(purge_message.LOST)
