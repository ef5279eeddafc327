"""Answers that fresh responses in memory give at once, and until when they hold."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, NamedTuple

from proxy.answer import from_memory, is_copied_at_length
from proxy.core import head as heads
from proxy.core.cache_control import RequestDirectives
from proxy.core.cache_status import CacheStatus, Handling
from proxy.core.decision import Hit, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.messages import Fields, Head, Request, StoredResponse
    from proxy.store import Found, Sighting, Store

_NO_DIRECTIVES = RequestDirectives()


class Recalled(NamedTuple):
    """An answer from memory, what was found there, and until when it would be the same.

    Until ``decided_until`` it would be the same but for ``told``, the head's cache fields, which
    would be as retell() has them; 0 where nothing is known of what comes after ``valid_until``.
    """

    head: Head
    body: bytes | memoryview
    handling: Handling
    found: Found
    told: Fields
    valid_until: float
    decided_until: float


class Retold(NamedTuple):
    """The cache's own fields of a hit, and until when they would be the same."""

    fields: Fields
    handling: Handling
    valid_until: float


class Memory:
    """What is stored, as answers: nothing here waits, or asks anybody."""

    def __init__(self, store: Store, clock: Callable[[], float], *, nosniff: bool) -> None:
        self._store = store
        self._nosniff = nosniff
        # The time by which all is decided, in seconds since the epoch.
        self.now = clock
        # As the store's.
        self.look_up, self.use, self.read = store.look_up, store.use, store.read

    def recall(self, request: Request, sighting: Sighting | None = None) -> Recalled | None:
        """The answer to a request if a fresh response in memory gives it, else None.

        ``sighting`` is what Gateway.sight() gave for the request's key, just now. Of the request
        only READ_FIELDS need be there, so a response with Vary is left to Gateway.answer().
        """
        now = self.now()
        found = self._store.look_up(request.key) if sighting is None else sighting.found
        decision = decide(request, found and found.response, now)
        if found is None or not isinstance(decision, Hit) or found.response.vary is not None:
            return None
        stored = found.response
        handling = hit(stored, now)
        head = self.head(request, stored, handling, now)
        if head.needs_representation and (
            stored.body is None or is_copied_at_length(head.segments, stored.body)
        ):
            return None
        body = from_memory(head.segments, stored.body or b"")
        decided_until = stored.fresh_until if _is_decided(request, head) else 0.0
        told, _, valid_until = self.retell(stored, now)
        return Recalled(head, body, handling, found, told, valid_until, decided_until)

    def retell(self, stored: StoredResponse, now: float) -> Retold:
        """What an answer that recall() gave would say instead of its own cache fields."""
        handling = hit(stored, now)
        fields = heads.cache_fields(handling, stored.age(now))
        return Retold(fields, handling, _next_second(stored, now))

    def head(
        self,
        request: Request,
        response: StoredResponse,
        handling: Handling,
        now: float | None = None,
    ) -> Head:
        """The head of the answer that a response gives; ``now`` is read where it is not given."""
        return heads.answer(
            request,
            response,
            handling,
            age=response.age(self.now() if now is None else now),
            boundary="" if request.range is None else secrets.token_hex(16),
            nosniff=self._nosniff,
        )


def hit(stored: StoredResponse, now: float) -> Handling:
    """How a fresh response in memory was handled."""
    return Handling(CacheStatus.HIT, ttl=ttl(stored, now))


def ttl(stored: StoredResponse, now: float) -> int:
    """Whole seconds of freshness that a response has left; below 0 once it is stale."""
    return math.floor(stored.freshness.lifetime - stored.age(now))


def _next_second(stored: StoredResponse, now: float) -> float:
    """When Age or the remaining freshness next shows another number of seconds.

    Every decision depends on these two compared with whole numbers, so it holds until then.
    """
    age = stored.age(now)
    remaining = stored.freshness.lifetime - age
    return now + min(1 - age % 1, remaining % 1 or 1.0)


def _is_decided(request: Request, head: Head) -> bool:
    """Does the answer stay the same, Age and remaining freshness aside, while it is fresh?

    Directives set an age or a freshness; dates of two-digit years depend on the present; the
    parts of a multipart body are told apart by a boundary that is to be another each time.
    """
    conditions = request.conditions
    return (
        request.directives == _NO_DIRECTIVES
        and conditions.if_modified_since is None
        and conditions.if_unmodified_since is None
        and request.if_range is None
        and len(head.segments) <= 1
    )
