"""The way of a request: look up, decide, collapse, fetch, store, answer.

The only place where the pure core, the cache and the origin meet.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from proxy import metrics
from proxy.answer import Answer, Body, Following, PartsFromOrigin, from_memory
from proxy.collapse import Arrival, Arriving, Flight, Flights, Purged, Settled
from proxy.core import head as heads
from proxy.core import storability
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
from proxy.origin.errors import Failure, OriginError, PreconditionChangedError
from proxy.origin.s3 import WHOLE, Absence, Ask, OriginAnswer, S3Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.freshness import Policy
    from proxy.core.messages import Head, Request, StoredResponse
    from proxy.purge import Purge
    from proxy.store import Store

logger = logging.getLogger("s3proxy.gateway")

_PARTIAL, _NOT_MODIFIED, _GATEWAY_TIMEOUT = 206, 304, 504


class Gateway:
    """Answers requests for objects from the store, or from the origin through it."""

    def __init__(
        self,
        store: Store,
        origin: S3Origin,
        policy: Policy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._origin = origin
        self._policy = policy
        self._clock = clock
        self._flights = Flights()
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Give up what is being fetched and close the connections to the origin."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._origin.aclose()

    async def answer(self, request: Request) -> Answer:
        """Answer a request; whoever gets the answer must close it."""
        answer = await self._answer(request)
        if answer.handling is not None:
            metrics.by_cache_status[answer.handling.status].inc()
            if answer.handling.collapsed:
                metrics.collapsed.inc()
        return answer

    def purge(self, purge: Purge) -> int:
        """Carry out a purge, here and in what is being fetched; how many responses it hit."""
        self._flights.purge(purge.matches, Purged.SOFT if purge.soft else Purged.HARD)
        return self._store.purge(purge, self._clock())

    async def _answer(self, request: Request) -> Answer:
        now = self._clock()
        match decide(request, self._store.get(request.key), now):
            case Hit(stored):
                return await self._from_store(request, stored, _hit(stored, now))
            case ServeStale(stored, revalidate):
                if revalidate and self._flights.get(request.key) is None:
                    self._take_off(request.key, stored).may_store = True
                return await self._from_store(request, stored, _stale(stored, now))
            case Refuse():
                handling = Handling(CacheStatus.MISS, detail="only-if-cached")
                return _refusal(request, _GATEWAY_TIMEOUT, handling)
            case Validate(stored, reason):
                return await self._through_flight(request, stored, reason)
            case Fetch():
                return await self._through_flight(request, None, Forward.URI_MISS)
            case unreachable:
                assert_never(unreachable)

    async def _from_store(
        self, request: Request, stored: StoredResponse, handling: Handling
    ) -> Answer:
        head = self._head(request, stored, handling)
        if stored.body is not None:
            return Answer(head, handling, from_memory(head.segments, stored.body))
        if not head.needs_representation:
            return Answer(head, handling, from_memory(head.segments, b""))
        # Only the head is held: the object is too large to store.
        if head.status == _PARTIAL:
            return await self._parts_from_origin(request, stored)
        return await self._through_flight(request, None, Forward.BYPASS)

    async def _through_flight(
        self, request: Request, stored: StoredResponse | None, reason: Forward
    ) -> Answer:
        """Answer with what a flight brings, one under way or a new one."""
        while True:
            flight = self._flights.get(request.key)
            collapsed = flight is not None
            if flight is None:
                flight = self._take_off(request.key, stored)
            flight.join(may_store=not request.directives.no_store)
            try:
                outcome = await flight.outcome()
                if isinstance(outcome, Arriving):
                    answer = self._following(request, outcome, reason, collapsed=collapsed)
            except OriginError as error:
                return self._without_origin(request, error, reason)
            finally:
                flight.leave()
            if isinstance(outcome, Settled):
                return await self._settled(request, outcome, reason, collapsed=collapsed)
            if answer is not None:
                return answer
            if not outcome.arrival.kept and request.range is not None:
                return await self._parts_from_origin(request, outcome.response)
            # Too large to keep, and its beginning is gone already.
            self._flights.close_to_joiners(flight)

    async def _settled(
        self, request: Request, outcome: Settled, reason: Forward, *, collapsed: bool
    ) -> Answer:
        handling = Handling(
            CacheStatus.REVALIDATED if outcome.validated else CacheStatus.MISS,
            fwd=reason,
            fwd_status=_NOT_MODIFIED if outcome.validated else outcome.response.origin_status,
            stored=outcome.stored,
            collapsed=collapsed,
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
        head = self._head(request, response, handling)
        if not head.needs_representation:
            return Answer(head, handling, from_memory(head.segments, b""))
        if not arrival.kept and (head.status == _PARTIAL or not arrival.joinable):
            return None
        alone = PartsFromOrigin(self._origin, request.key, response)
        body = Body(head.segments, Following(arrival, alone, response.length))
        return Answer(head, handling, body)

    async def _parts_from_origin(self, request: Request, response: StoredResponse) -> Answer:
        """Parts of an object too large to store, each by a range request of its own."""
        handling = Handling(CacheStatus.BYPASS, fwd=Forward.BYPASS, fwd_status=_PARTIAL)
        head = self._head(request, response, handling)
        parts = PartsFromOrigin(self._origin, request.key, response)
        try:
            await parts.open(next(part for part in head.segments if isinstance(part, ByteRange)))
        except OriginError as error:
            return self._without_origin(request, error, Forward.BYPASS)
        except PreconditionChangedError:
            # It was overwritten or deleted: what is known describes the old one. The whole new
            # one is an answer too (RFC 9110 §14.2: a server may ignore Range).
            self._store.remove(request.key)
            whole = replace(request, range=None)
            return await self._through_flight(whole, None, Forward.BYPASS)
        return Answer(head, handling, Body(head.segments, parts))

    def _without_origin(self, request: Request, error: OriginError, reason: Forward) -> Answer:
        """The stored response in place of one the origin failed to give, or an error."""
        now = self._clock()
        # Looked up again: a purge may have come meanwhile.
        stored = self._store.get(request.key)
        if stored is not None and may_stand_in(stored, now):
            handling = Handling(
                CacheStatus.STALE,
                fwd=reason,
                fwd_status=error.origin_status,
                ttl=_ttl(stored, now),
                detail=error.failure.value,
            )
            head = self._head(request, stored, handling)
            if stored.body is not None or not head.needs_representation:
                return Answer(head, handling, from_memory(head.segments, stored.body or b""))
        handling = Handling(
            CacheStatus.MISS,
            fwd=reason,
            fwd_status=error.origin_status,
            detail=error.failure.value,
        )
        return _refusal(request, error.client_status, handling, error.retry_after)

    def _head(self, request: Request, response: StoredResponse, handling: Handling) -> Head:
        return heads.answer(
            request,
            response,
            handling,
            age=response.age(self._clock()),
            boundary=secrets.token_hex(16),
        )

    def _take_off(self, key: str, stored: StoredResponse | None) -> Flight:
        flight = self._flights.start(key)
        task = asyncio.create_task(self._fly(flight, stored), name=f"origin {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _fly(self, flight: Flight, stored: StoredResponse | None) -> None:
        try:
            await self._exchange(flight, stored)
        except OriginError as error:
            if stored is not None:
                metrics.revalidations["failed"].inc()
            flight.fail(error)
        except asyncio.CancelledError:
            flight.fail(OriginError(Failure.CONNECT, "the proxy is stopping"))
            raise
        except Exception as exc:
            # Whoever waits must not wait for ever, and gets a 500.
            logger.exception("an origin request ended in a defect of the proxy")
            flight.fail(exc)
        finally:
            self._flights.end(flight)

    async def _exchange(self, flight: Flight, stored: StoredResponse | None) -> None:
        ask = WHOLE if stored is None else Ask(stored.etag, stored.last_modified)
        answer = await self._origin.get(flight.key, ask)
        if isinstance(answer, Absence):
            self._take_absence(flight, answer, stored)
            return
        try:
            if stored is not None and answer.head.status == _NOT_MODIFIED:
                self._freshen(flight, answer, stored)
            else:
                await self._take_representation(flight, answer, stored)
        finally:
            answer.close()

    def _take_absence(
        self, flight: Flight, absence: Absence, stored: StoredResponse | None
    ) -> None:
        if stored is not None:
            metrics.revalidations["removed"].inc()
        assessment = storability.assess(absence.head, self._policy, status=absence.status)
        response = storability.with_body(assessment.response, b"")
        kept = self._keep(flight, response, storable=assessment.storable)
        flight.succeed(Settled(response, validated=False, stored=kept))

    def _freshen(self, flight: Flight, answer: OriginAnswer, stored: StoredResponse) -> None:
        metrics.revalidations["not_modified"].inc()
        assessment = storability.freshen(stored, answer.head, self._policy)
        kept = self._keep(flight, assessment.response, storable=assessment.storable)
        flight.succeed(Settled(assessment.response, validated=True, stored=kept))

    async def _take_representation(
        self, flight: Flight, answer: OriginAnswer, stored: StoredResponse | None
    ) -> None:
        if stored is not None:
            metrics.revalidations["replaced"].inc()
        length, most = answer.length, self._policy.max_object_size
        fits = length is None or length <= most
        assessment = storability.assess(answer.head, self._policy, length=length)
        storable = assessment.storable and flight.may_store
        if not fits or not storable:
            # Of an object too large the head is kept: it answers HEAD and preconditions, and
            # a part can then be asked for without asking for the whole.
            self._keep(flight, assessment.response, storable=storable)
        arrival = Arrival(
            keep_bytes=most, length=length, expects_readers=lambda: flight.expects_readers
        )
        flight.succeed(Arriving(assessment.response, arrival, stored=storable and fits))
        try:
            async for chunk in answer.chunks():
                if not await arrival.add(chunk):
                    return
                if not arrival.joinable:
                    self._flights.close_to_joiners(flight)
        except OriginError as error:
            arrival.fail(error)
            return
        except BaseException:
            arrival.fail(OriginError(Failure.BROKEN_BODY, "the proxy is stopping"))
            raise
        arrival.finish()
        if arrival.kept:
            whole = storability.with_body(assessment.response, arrival.body)
            self._keep(flight, whole, storable=assessment.storable and flight.may_store)

    def _keep(self, flight: Flight, response: StoredResponse, *, storable: bool) -> bool:
        """Store what a flight brought, unless that is forbidden; was it stored?

        What may not be stored still shows that the stored one no longer holds.
        """
        now = self._clock()
        if flight.purged is Purged.HARD:
            return False
        if not storable:
            self._store.remove(flight.key)
            return False
        if flight.purged is Purged.SOFT:
            response = storability.stale_from(response, now)
        self._store.put(flight.key, response, now)
        return True


def _hit(stored: StoredResponse, now: float) -> Handling:
    return Handling(CacheStatus.HIT, ttl=_ttl(stored, now))


def _stale(stored: StoredResponse, now: float) -> Handling:
    return Handling(CacheStatus.STALE, ttl=_ttl(stored, now))


def _ttl(stored: StoredResponse, now: float) -> int:
    return math.floor(stored.freshness.lifetime - stored.age(now))


def _refusal(
    request: Request, status: int, handling: Handling, retry_after: int | None = None
) -> Answer:
    extra = () if retry_after is None else ((b"retry-after", b"%d" % retry_after),)
    head = heads.refusal(request, status, handling, extra)
    return Answer(head, handling, from_memory(head.segments, b""))
