"""The way of a request: look up, decide, answer from memory or from what is being fetched."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, assert_never

from proxy import metrics
from proxy.answer import (
    Answer,
    Body,
    Following,
    FromMemory,
    PartsFromOrigin,
    from_memory,
    is_copied_at_length,
)
from proxy.collapse import Arriving, Settled
from proxy.core import head as heads
from proxy.core.cache_status import CacheStatus, Forward, Handling
from proxy.core.decision import (
    Fetch,
    Hit,
    Refuse,
    ServeStale,
    Validate,
    decide,
    may_stand_in,
)
from proxy.core.ranges import ByteRange
from proxy.fetcher import Fetcher
from proxy.memory import Memory, ttl
from proxy.metrics import HITS
from proxy.origin.errors import OriginError, PreconditionChangedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.freshness import Policy
    from proxy.core.messages import Head, Request, StoredResponse
    from proxy.fleet.link import Link
    from proxy.origin.s3 import S3Origin
    from proxy.purge import Purge
    from proxy.store import Sighting, Store
    from proxy.turns import Turns

_OK, _PARTIAL, _NOT_MODIFIED, _GATEWAY_TIMEOUT = 200, 206, 304, 504


class Purged(NamedTuple):
    """How many stored responses a purge hit here, and whether all replicas know of it."""

    responses: int
    everywhere: bool


class Gateway:
    """Answers requests for objects from the store, or from the origin through it."""

    def __init__(
        self,
        store: Store,
        turns: Turns | None,
        origin: S3Origin,
        policy: Policy,
        clock: Callable[[], float] = time.time,
        *,
        nosniff: bool = True,
        link: Link | None = None,
    ) -> None:
        self._store = store
        self._origin = origin
        self._clock = clock
        self._link = link
        self._fetcher = Fetcher(store, turns, origin, policy, clock, link)
        self.memory = Memory(store, clock, nosniff=nosniff)

    async def aclose(self) -> None:
        """Give up what is being fetched and close the connections to the origin."""
        await self._fetcher.aclose()

    async def answer(self, request: Request, sighting: Sighting | None = None) -> Answer:
        """Answer a request; whoever gets the answer must close it.

        ``sighting`` is what sight() gave for the request's key, or at_hand() for it, a moment ago.
        """
        if sighting is None or not self._still_holds(sighting):
            found = self.at_hand(request)
            if isinstance(found, Answer):
                return found
            sighting = found
        answer = await self._answer(request, sighting)
        if answer.handling is not None:
            metrics.by_cache_status[answer.handling.status].inc()
            if answer.handling.collapsed:
                metrics.collapsed.inc()
        return answer

    def sight(self, key: str) -> Sighting | None:
        """What is stored under a key, for Memory.recall() and answer().

        None where it may be another as soon as somebody else has had a turn of the event loop.
        """
        return None if self._fetcher.flight(key) is not None else self._store.sight(key)

    async def purge(self, purge: Purge) -> Purged:
        """Carry out a purge in all processes of the server, and on all replicas.

        Nothing that was being fetched meanwhile is stored, nor given to later requests.
        """
        if self._link is None:
            return Purged(await self._store.purge(purge, self._clock()), everywhere=True)
        # The others first: else what they share could come back here.
        published = await self._link.publish(purge)
        responses = await self._store.purge(purge, self._clock())
        self._link.finish(published)
        return Purged(responses, everywhere=published.everywhere)

    def _still_holds(self, sighting: Sighting) -> bool:
        found = sighting.found
        return found is None or self._store.use(found.slot, found.version)

    def at_hand(self, request: Request) -> Answer | Sighting:
        """The answer to a request if a fresh response in memory gives it.

        Else what is there, for answer() without letting anybody else have a turn before it.
        """
        sighting = self._store.sight(request.key)
        now = self._clock()
        decision = decide(request, sighting.response, now)
        if not isinstance(decision, Hit):
            return sighting
        stored = decision.stored
        handling, told = self.memory.tell(stored, now)
        head = self.memory.head(request, stored, handling, now, told)
        answer = _from_held(head, handling, stored)
        if answer is None:
            return sighting
        metrics.tally.row[HITS] += 1
        return answer

    async def _answer(self, request: Request, sighting: Sighting) -> Answer:
        now = self._clock()
        match decide(request, sighting.response, now):
            case Hit(stored):
                # Nearly always at_hand() has given the answer, unless only the head is held.
                handling, _ = self.memory.tell(stored, now)
                return await self._from_store(request, stored, handling)
            case ServeStale(stored, revalidate):
                if revalidate and self._fetcher.may_ask_again(request.key, now):
                    flight = self._fetcher.take_off(request, sighting, credentials=False)
                    flight.may_store = True
                return await self._from_store(request, stored, _stale(stored, now))
            case Refuse():
                return _only_if_cached(request)
            case Validate(reason=reason):
                return await self._through_flight(request, sighting, reason)
            case Fetch():
                return await self._through_flight(request, sighting, Forward.URI_MISS)
            case unreachable:
                assert_never(unreachable)

    async def _from_store(
        self, request: Request, stored: StoredResponse, handling: Handling
    ) -> Answer:
        head = self.memory.head(request, stored, handling)
        answer = _from_held(head, handling, stored)
        if answer is not None:
            return answer
        # Only the head is held: the object is too large to store.
        if request.directives.only_if_cached:
            return _only_if_cached(request)
        if head.status == _PARTIAL:
            return await self._parts_from_origin(request, stored)
        return await self._past_the_store(request)

    async def _past_the_store(self, request: Request) -> Answer:
        sighting = self._store.sight(request.key)
        return await self._through_flight(request, sighting, Forward.BYPASS)

    async def _through_flight(
        self, request: Request, sighting: Sighting, reason: Forward
    ) -> Answer:
        """Answer with what a flight brings, one under way or a new one."""
        alone = False
        while True:
            flight = None if alone else self._fetcher.flight(request.key)
            collapsed = flight is not None
            if flight is None:
                flight = self._fetcher.take_off(
                    request,
                    sighting,
                    conditional=reason is not Forward.BYPASS,
                    joinable=not alone,
                )
            flight.join(may_store=not request.directives.no_store)
            try:
                outcome = await flight.outcome()
                collapsed |= outcome.elsewhere
                usable = not collapsed or outcome.is_for(request)
                if usable and isinstance(outcome, Arriving):
                    answer = self._following(request, outcome, reason, collapsed=collapsed)
            except OriginError as error:
                return self._without_origin(request, error, reason)
            finally:
                flight.leave()
            if not usable:
                # RFC 9111 §4: what may not be used for the collapsed request, it must ask for.
                alone = request.authorized or not flight.authorized
                if not alone:
                    # What was said to credentials keeps nobody else from collapsing.
                    self._fetcher.flights.close_to_joiners(flight)
                # Looked up again: a purge may have come meanwhile.
                sighting = self._store.sight(request.key)
                continue
            if isinstance(outcome, Settled):
                return await self._settled(request, outcome, reason, collapsed=collapsed)
            if answer is not None:
                return answer
            if request.range is not None and outcome.response.length is not None:
                return await self._parts_from_origin(request, outcome.response)
            # Too large to keep, and its beginning is gone already.
            self._fetcher.flights.close_to_joiners(flight)
            sighting = self._store.sight(request.key)

    async def _settled(
        self, request: Request, outcome: Settled, reason: Forward, *, collapsed: bool
    ) -> Answer:
        if outcome.validated:
            status = CacheStatus.REVALIDATED
        elif reason is Forward.BYPASS and outcome.response.status == _OK:
            status = CacheStatus.BYPASS
        else:
            status = CacheStatus.MISS
        handling = Handling(
            status,
            fwd=reason,
            fwd_status=_NOT_MODIFIED if outcome.validated else outcome.response.origin_status,
            stored=outcome.stored,
            collapsed=collapsed,
            detail="shared-cache" if outcome.shared else None,
        )
        return await self._from_store(request, outcome.response, handling)

    def _following(
        self, request: Request, outcome: Arriving, reason: Forward, *, collapsed: bool
    ) -> Answer | None:
        """An answer that reads along; None where the arrival cannot give what it takes."""
        response, arrival = outcome.response, outcome.arrival
        handling = Handling(
            CacheStatus.BYPASS if reason is Forward.BYPASS else CacheStatus.MISS,
            fwd=reason,
            fwd_status=response.origin_status,
            stored=outcome.stored,
            collapsed=collapsed,
        )
        head = self.memory.head(request, response, handling)
        if not head.needs_representation:
            return _from_body(head, handling, b"")
        if not arrival.kept and (head.status == _PARTIAL or not arrival.joinable):
            return None
        alone = PartsFromOrigin(self._origin, request.key, response)
        body = Body(head.segments, Following(arrival, alone, response.length))
        return Answer(head, handling, body)

    async def _parts_from_origin(self, request: Request, response: StoredResponse) -> Answer:
        """Parts of an object too large to store, each by a range request of its own."""
        handling = Handling(CacheStatus.BYPASS, fwd=Forward.BYPASS, fwd_status=_PARTIAL)
        head = self.memory.head(request, response, handling)
        parts = PartsFromOrigin(self._origin, request.key, response)
        first, *others = (part for part in head.segments if isinstance(part, ByteRange))
        if others and not parts.fit_together:
            whole = replace(request, range=None)
            return await self._past_the_store(whole)
        try:
            await parts.open(first)
        except OriginError as error:
            return self._without_origin(request, error, Forward.BYPASS)
        except PreconditionChangedError:
            # It was overwritten or deleted: what is known describes the old one. The whole new
            # one is an answer too (RFC 9110 §14.2: a server may ignore Range).
            self._store.remove(request.key)
            whole = replace(request, range=None)
            return await self._past_the_store(whole)
        return Answer(head, handling, Body(head.segments, parts))

    def _without_origin(self, request: Request, error: OriginError, reason: Forward) -> Answer:
        """The stored response in place of one the origin failed to give, or an error."""
        now = self._clock()
        # Looked up again: a purge may have come meanwhile.
        stored = self._store.get(request.key)
        if stored is not None and may_stand_in(request, stored, now):
            handling = Handling(
                CacheStatus.STALE,
                fwd=reason,
                fwd_status=error.origin_status,
                ttl=ttl(stored, now),
                detail=error.failure.value,
            )
            head = self.memory.head(request, stored, handling)
            if stored.body is not None or not head.needs_representation:
                return _from_body(head, handling, stored.body or b"")
        handling = Handling(
            CacheStatus.MISS,
            fwd=reason,
            fwd_status=error.origin_status,
            detail=error.failure.value,
        )
        return _refusal(request, error.client_status, handling, error.retry_after)


def _stale(stored: StoredResponse, now: float) -> Handling:
    return Handling(CacheStatus.STALE, ttl=ttl(stored, now))


def _from_held(head: Head, handling: Handling, stored: StoredResponse) -> Answer | None:
    """The answer that what is held of a response gives; None where its body would be needed."""
    if stored.body is not None:
        return _from_body(head, handling, stored.body)
    return None if head.needs_representation else _from_body(head, handling, b"")


def _from_body(head: Head, handling: Handling, body: bytes | memoryview) -> Answer:
    if is_copied_at_length(head.segments, body):
        return Answer(head, handling, Body(head.segments, FromMemory(body)))
    at_hand = from_memory(head.segments, body)
    if isinstance(at_hand, memoryview):
        # A view of shared memory: what takes bytes alone would copy all of it at once.
        return Answer(head, handling, Body(head.segments, FromMemory(body)))
    return Answer(head, handling, at_hand)


def _only_if_cached(request: Request) -> Answer:
    handling = Handling(CacheStatus.MISS, detail="only-if-cached")
    return _refusal(request, _GATEWAY_TIMEOUT, handling)


def _refusal(
    request: Request, status: int, handling: Handling, retry_after: int | None = None
) -> Answer:
    extra = () if retry_after is None else ((b"retry-after", b"%d" % retry_after),)
    head = heads.refusal(request, status, handling, extra)
    return _from_body(head, handling, b"")
