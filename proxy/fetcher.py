"""Flights from the origin into the store: ask, tell who waits, store what may be stored."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from proxy import metrics
from proxy.arrival import Arrival
from proxy.collapse import Arriving, Flight, Flights, Settled
from proxy.core import storability
from proxy.core.decision import Hit, decide
from proxy.core.messages import StoredResponse
from proxy.origin.errors import Failure, OriginError
from proxy.origin.exchange import WHOLE, Absence, Ask, OriginAnswer
from proxy.store import Found

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.freshness import Policy
    from proxy.core.messages import Request
    from proxy.fleet.link import Link
    from proxy.origin.s3 import S3Origin
    from proxy.store import Sighting, Store
    from proxy.turns import Turns

logger = logging.getLogger("s3proxy.fetcher")

# After a failed revalidation in the background the next may wait: else each stale answer would
# start one, as fast as the origin can fail.
_REST_SECONDS = 1.0
_MOST_RESTING = 4096

_NOT_MODIFIED = 304

# A body of at most so many bytes is likely to be here with its head, or at once behind it; it is
# waited for so long, because an answer that is whole costs half of one that is read along.
_SMALL_BYTES = 64 * 1024
_SMALL_SECONDS = 0.005


class Fetcher:
    """Asks the origin on behalf of requests, in tasks that outlive them."""

    def __init__(
        self,
        store: Store,
        turns: Turns | None,
        origin: S3Origin,
        policy: Policy,
        clock: Callable[[], float],
        link: Link | None = None,
    ) -> None:
        self.flights = Flights()
        self._store = store
        self._turns = turns
        self._link = link
        self._origin = origin
        self._policy = policy
        self._clock = clock
        self._rests_until: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Is nothing being fetched?"""
        return not self._tasks

    async def aclose(self) -> None:
        """Give up what is being fetched and close the connections to the origin."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._link is not None:
            await self._link.aclose()
        await self._origin.aclose()

    def flight(self, key: str) -> Flight | None:
        """The flight that a request for ``key`` may join: none that took off before a purge."""
        flight = self.flights.get(key)
        if flight is None or not self._was_purged(flight):
            return flight
        self.flights.close_to_joiners(flight)
        return None

    def may_ask_again(self, key: str, now: float) -> bool:
        """Is nobody asking the origin about the key, nor has it just failed to answer?"""
        return self.flight(key) is None and now >= self._rests_until.get(key, now)

    def _was_purged(self, flight: Flight) -> bool:
        return self._store.purge_log.has_purged(flight.key, flight.purges)

    def _let_rest(self, key: str) -> None:
        if len(self._rests_until) >= _MOST_RESTING:
            self._rests_until.clear()
        self._rests_until[key] = self._clock() + _REST_SECONDS

    def take_off(
        self,
        request: Request,
        sighting: Sighting,
        *,
        conditional: bool = True,
        joinable: bool = True,
        credentials: bool = True,
    ) -> Flight:
        """Ask the origin on behalf of a request, with or without the credentials it bears.

        A ``conditional`` one asks whether what was seen in the store still holds.
        """
        key = request.key
        flight = self.flights.start(
            key,
            asked=request.fields,
            authorized=credentials and request.authorized,
            joinable=joinable,
            purges=sighting.purges,
        )
        stored = sighting.response if conditional else None
        task = asyncio.create_task(
            self._fly(flight, request, sighting.found, stored), name=f"origin {key}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _fly(
        self, flight: Flight, request: Request, found: Found | None, stored: StoredResponse | None
    ) -> None:
        try:
            await self._take_turn(flight, request, found, stored)
        except OriginError as error:
            if stored is not None:
                metrics.revalidations["failed"].inc()
                self._let_rest(flight.key)
            flight.fail(error)
        except asyncio.CancelledError:
            flight.fail(OriginError(Failure.CONNECT, "the proxy is stopping"))
            raise
        except Exception as exc:
            # Whoever waits must not wait for ever, and gets a 500.
            logger.exception("an origin request ended in a defect of the proxy")
            flight.fail(exc)
        finally:
            self.flights.end(flight)

    async def _take_turn(
        self, flight: Flight, request: Request, found: Found | None, stored: StoredResponse | None
    ) -> None:
        """Ask the origin, unless another process of the server is about to know."""
        known_to_be_too_large = found is not None and stored is None
        if flight.authorized or not flight.joinable or known_to_be_too_large:
            await self._exchange(flight, stored)
            return
        if self._turns is not None:
            turn = await self._turns.wait(flight, found)
            if isinstance(turn, Found):
                flight.succeed(Settled(turn.response, elsewhere=True, stored=True, shareable=True))
                return
            flight.turn = turn
        try:
            await self._ask_replicas(flight, request, stored)
        finally:
            self._end_turn(flight)

    async def _ask_replicas(
        self, flight: Flight, request: Request, stored: StoredResponse | None
    ) -> None:
        """Ask the origin, unless another replica knows, or is about to."""
        if self._link is None:
            await self._exchange(flight, stored)
            return

        def answers(response: StoredResponse) -> bool:
            return isinstance(decide(request, response, self._clock()), Hit)

        got = await self._link.find(flight.key, answers)
        if isinstance(got, StoredResponse):
            kept = self._keep(flight, got, storable=True)
            if kept or not self._was_purged(flight):
                flight.succeed(Settled(got, shared=True, stored=kept, shareable=True))
                return
            await self._exchange(flight, stored)
            return
        flight.errand = got
        await self._exchange(flight, stored or got.known)

    def _end_turn(self, flight: Flight) -> None:
        """Let others have what was stored, or their turn."""
        if self._turns is not None and flight.turn is not None:
            self._turns.release(flight.turn, stored=flight.kept)
            flight.turn = None
        if flight.errand is not None:
            flight.errand.end(None if self._was_purged(flight) else flight.brought)
            flight.errand = None

    async def _exchange(self, flight: Flight, stored: StoredResponse | None) -> None:
        ask = WHOLE if stored is None else Ask(stored.etag, stored.last_modified)
        answer = await self._origin.get(flight.key, ask, wanted=lambda: flight.wanted)
        if (
            stored is not None
            and isinstance(answer, OriginAnswer)
            and answer.head.status == _NOT_MODIFIED
            and (self._was_purged(flight) or not storability.identifies(answer.head, stored))
        ):
            # Of what was stored nothing may be used: it was purged, or is another version.
            answer.close()
            answer = await self._origin.get(flight.key, wanted=lambda: flight.wanted)
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
        assessment = storability.assess(
            absence.head, self._policy, status=absence.status, asked=flight.asked
        )
        response = storability.with_body(assessment.response, b"")
        kept = self._keep(flight, response, storable=flight.may_keep(assessment))
        shareable = flight.may_share(assessment)
        flight.succeed(Settled(response, validated=False, stored=kept, shareable=shareable))

    def _freshen(self, flight: Flight, answer: OriginAnswer, stored: StoredResponse) -> None:
        metrics.revalidations["not_modified"].inc()
        assessment = storability.freshen(stored, answer.head, self._policy, flight.asked)
        kept = self._keep(flight, assessment.response, storable=assessment.storable)
        flight.succeed(
            Settled(
                assessment.response, validated=True, stored=kept, shareable=assessment.shareable
            )
        )

    async def _take_representation(
        self, flight: Flight, answer: OriginAnswer, stored: StoredResponse | None
    ) -> None:
        if stored is not None:
            metrics.revalidations["replaced"].inc()
        length, most = answer.length, self._policy.max_object_size
        fits = length is None or length <= most
        assessment = storability.assess(
            answer.head, self._policy, length=length, asked=flight.asked
        )
        storable = flight.may_keep(assessment)
        if not fits or not storable:
            # Of an object too large the head is kept: it answers HEAD and preconditions, and
            # a part can then be asked for without asking for the whole.
            self._keep(flight, assessment.response, storable=storable)
            self._end_turn(flight)
        arrival = Arrival(
            keep_bytes=most, length=length, expects_readers=lambda: flight.expects_readers
        )
        shareable = flight.may_share(assessment)
        arriving = Arriving(
            assessment.response, arrival, stored=storable and fits, shareable=shareable
        )
        telling = None
        if length is None or length > min(most, _SMALL_BYTES):
            flight.succeed(arriving)
        elif not answer.is_received:
            loop = asyncio.get_running_loop()
            telling = loop.call_later(_SMALL_SECONDS, flight.succeed, arriving)
        try:
            if await self._read_along(flight, answer, arriving, fits=fits):
                whole = storability.with_body(assessment.response, arrival.body)
                kept = self._keep(flight, whole, storable=flight.may_keep(assessment))
                flight.succeed(Settled(whole, stored=kept, shareable=shareable))
        finally:
            if telling is not None:
                telling.cancel()
            flight.succeed(arriving)

    async def _read_along(
        self, flight: Flight, answer: OriginAnswer, arriving: Arriving, *, fits: bool
    ) -> bool:
        """Take in a body; has it come whole, and was it kept? ``fits``: so far it can be."""
        arrival = arriving.arrival
        try:
            async for chunk in answer.chunks():
                more_wanted = await arrival.add(chunk)
                if fits and not arrival.kept:
                    # Larger than it said: what is stored is outdated all the same.
                    fits = False
                    self._keep(flight, arriving.response, storable=False)
                    self._end_turn(flight)
                if not more_wanted:
                    return False
                if not arrival.joinable:
                    self.flights.close_to_joiners(flight)
        except OriginError as error:
            arrival.fail(error)
            return False
        except BaseException:
            arrival.fail(OriginError(Failure.BROKEN_BODY, "the proxy is stopping"))
            raise
        arrival.finish()
        return arrival.kept

    def _keep(self, flight: Flight, response: StoredResponse, *, storable: bool) -> bool:
        """Store what a flight brought, unless that is forbidden; was it stored?

        What may not be stored still shows that the stored one no longer holds.
        """
        if not storable:
            self._store.remove(flight.key)
            return False
        # A flight that took off after the purge may have stored something newer by now.
        flight.kept = self._store.put(
            flight.key, response, self._clock(), unless=lambda: self._was_purged(flight)
        )
        flight.brought = response if flight.kept and response.body is not None else None
        return flight.kept
