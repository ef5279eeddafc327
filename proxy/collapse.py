"""One origin request for any number of simultaneous requests: collapsed forwarding."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.arrival import Arrival
    from proxy.cache.leases import Lease
    from proxy.core.messages import Request, StoredResponse
    from proxy.core.storability import Assessment
    from proxy.fleet.link import Errand


class Outcome:
    """What the origin said to a flight.

    ``shareable``: others than who it was asked for may have it too, if Vary lets them.
    ``elsewhere``: another process of the server asked.
    """

    elsewhere = False

    def __init__(self, response: StoredResponse, *, stored: bool, shareable: bool) -> None:
        self.response = response
        self.stored = stored
        self.shareable = shareable

    def is_for(self, request: Request) -> bool:
        """May it answer a request that joined the flight (RFC 9111 §4)?"""
        vary = self.response.vary
        return self.shareable and (vary is None or vary.selects(request.fields))


class Settled(Outcome):
    """The origin said all there is to say: there is no body to wait for.

    ``response`` is the freshened stored response (``validated``), an absence, a new one that is
    whole already, or what another process fetched meanwhile (``elsewhere``), or another replica
    has stored (``shared``).
    """

    def __init__(
        self,
        response: StoredResponse,
        *,
        validated: bool = False,
        elsewhere: bool = False,
        shared: bool = False,
        stored: bool,
        shareable: bool,
    ) -> None:
        super().__init__(response, stored=stored, shareable=shareable)
        self.validated = validated
        self.elsewhere = elsewhere
        self.shared = shared


class Arriving(Outcome):
    """A new representation is coming in. ``stored``: it will be, if it gets whole."""

    def __init__(
        self, response: StoredResponse, arrival: Arrival, *, stored: bool, shareable: bool
    ) -> None:
        super().__init__(response, stored=stored, shareable=shareable)
        self.arrival = arrival


class Flight:
    """One origin request under way for a key.

    ``asked`` are the fields of the request that it was started for; ``authorized``: among them
    credentials. ``may_store`` is true once a request has joined that did not say no-store;
    ``purges`` is how many purges there had been when what is stored was looked up for it: a later
    one that covers the key, soft or not, forbids to store what the flight brings. ``kept``:
    something of it was stored, ``brought`` if that was whole. ``turn`` is what it holds meanwhile
    against other processes, ``errand`` against other replicas.
    """

    def __init__(
        self,
        key: str,
        asked: Sequence[tuple[bytes, bytes]],
        *,
        authorized: bool,
        joinable: bool,
        purges: int,
    ) -> None:
        self.key = key
        self.asked = asked
        self.authorized = authorized
        self.joinable = joinable
        self.purges = purges
        self.may_store = False
        self.kept = False
        self.turn: Lease | None = None
        self.errand: Errand | None = None
        self.brought: StoredResponse | None = None
        self._outcome: asyncio.Future[Settled | Arriving] = (
            asyncio.get_running_loop().create_future()
        )
        # An error that nobody waits for is in the log already.
        self._outcome.add_done_callback(lambda outcome: outcome.exception())
        self._waiting = 0
        self._was_joined = False

    @property
    def expects_readers(self) -> bool:
        """Is there a request that has not yet taken what it came for?"""
        return self._waiting > 0

    @property
    def wanted(self) -> bool:
        """Does anybody wait for it, or was it never meant for anybody but the store?"""
        return self._waiting > 0 or not self._was_joined

    def may_keep(self, assessment: Assessment) -> bool:
        """May the response be stored (RFC 9111 §3, §3.5)?"""
        allowed = assessment.storable_if_authorized if self.authorized else assessment.storable
        return allowed and self.may_store

    def may_share(self, assessment: Assessment) -> bool:
        """May those who joined have the response too (RFC 9111 §3.5, §4)?"""
        if self.authorized:
            return assessment.storable_if_authorized
        return assessment.shareable

    def join(self, *, may_store: bool) -> None:
        """Wait along with the others; must be followed by leave()."""
        self._waiting += 1
        self._was_joined = True
        self.may_store |= may_store

    def leave(self) -> None:
        """Have taken what there was to take, or gone away."""
        self._waiting -= 1
        if self._outcome.done() and self._outcome.exception() is None:
            outcome = self._outcome.result()
            if isinstance(outcome, Arriving):
                outcome.arrival.wake()

    async def outcome(self) -> Settled | Arriving:
        """What came of it; raises OriginError.

        Shielded, so that a request that is cancelled takes nobody down with it.
        """
        return await asyncio.shield(self._outcome)

    def succeed(self, outcome: Settled | Arriving) -> None:
        """Tell everyone who waits, if nothing was told before."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Tell everyone who waits, if nothing better was told before."""
        if not self._outcome.done():
            self._outcome.set_exception(error)


class Flights:
    """The flights under way by key, at most one a key that a request may still join."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}
        self._all: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: str) -> Flight | None:
        """The flight that a request for ``key`` may join."""
        return self._by_key.get(key)

    def start(
        self,
        key: str,
        *,
        asked: Sequence[tuple[bytes, bytes]],
        authorized: bool,
        joinable: bool,
        purges: int,
    ) -> Flight:
        """A new flight, which takes the place of an unjoinable one; or one nobody can join."""
        flight = Flight(key, asked, authorized=authorized, joinable=joinable, purges=purges)
        if joinable:
            self._by_key[key] = flight
        self._all.add(flight)
        return flight

    def close_to_joiners(self, flight: Flight) -> None:
        """Nobody may join any more; the flight itself goes on."""
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]

    def end(self, flight: Flight) -> None:
        """The flight is over."""
        self.close_to_joiners(flight)
        self._all.discard(flight)
