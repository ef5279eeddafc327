"""Answers that fresh responses in memory give at once, and until when they hold."""

from __future__ import annotations

import math
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from proxy.answer import from_memory, is_copied_at_length
from proxy.core import head as heads
from proxy.core.cache_control import RequestDirectives
from proxy.core.cache_status import CacheStatus, Handling
from proxy.core.decision import Hit, decide, is_reusable
from proxy.core.freshness import current_age

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.core.messages import Fields, Head, Request, StoredResponse
    from proxy.store import Found, Sighting, Store

_OK = 200
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


class Plain(NamedTuple):
    """An answer of 200 with a whole stored response, as it goes out.

    Its fields are ``stored``, lines already, then those of the ``whole``, then ``told``.
    """

    stored: bytes
    whole: Fields
    told: Fields
    body: bytes
    handling: Handling


class Memory:
    """What is stored, as answers: nothing here waits, or asks anybody."""

    def __init__(self, store: Store, clock: Callable[[], float], *, nosniff: bool) -> None:
        self._store = store
        self._nosniff = nosniff
        self._sketch = store.sketch
        # The time by which all is decided, in seconds since the epoch.
        self.now = clock
        # As the store's.
        self.look_up, self.use = store.look_up, store.use
        self.read, self.splice = store.read, store.splice

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
        told, handling, valid_until = self.retell(stored, now)
        head = self.head(request, stored, handling, now, told)
        if head.needs_representation and (
            stored.body is None or is_copied_at_length(head.segments, stored.body)
        ):
            return None
        body = from_memory(head.segments, stored.body or b"")
        decided_until = stored.fresh_until if _is_decided(request, head) else 0.0
        return Recalled(head, body, handling, found, told, valid_until, decided_until)

    def tell(self, stored: StoredResponse, now: float) -> tuple[Handling, Fields]:
        """How a hit is handled, and the cache's own fields of it."""
        age = stored.age(now)
        return _told(math.floor(stored.freshness.lifetime - age), int(age))

    def retell(self, stored: StoredResponse, now: float) -> Retold:
        """What an answer that recall() gave would say instead of its own cache fields."""
        age = stored.age(now)
        left = stored.freshness.lifetime - age
        handling, fields = _told(math.floor(left), int(age))
        # Every decision depends on these two compared with whole numbers, so it holds until one of
        # them shows another number of seconds.
        return Retold(fields, handling, now + min(1 - age % 1, left % 1 or 1.0))

    def head(
        self,
        request: Request,
        response: StoredResponse,
        handling: Handling,
        now: float | None = None,
        told: Fields | None = None,
    ) -> Head:
        """The head of the answer that a response gives.

        ``now`` is read, and ``told``, its cache fields, are made where they are not given.
        """
        return heads.answer(
            request,
            response,
            handling,
            age=response.age(self.now() if now is None else now),
            boundary="" if request.range is None else secrets.token_hex(16),
            nosniff=self._nosniff,
            told=told,
        )

    def recall_plain(self, key: str, below: int) -> Plain | None:
        """What recall() says to a request that is_plain, where that is quickly told.

        That is not so of bodies of ``below`` bytes or more.
        """
        found = self._sketch(key, below)
        if found is None:
            return None
        sketch, body = found
        length, freshness = sketch.length, sketch.freshness
        if sketch.status != _OK or sketch.varies or length != len(body):
            return None
        age = current_age(sketch.initial_age, sketch.response_time, self.now())
        if not is_reusable(freshness, age):
            return None
        handling, told = _told(math.floor(freshness.lifetime - age), int(age))
        whole = _of_whole(length, nosniff=self._nosniff)
        return Plain(sketch.lines, whole, told, body, handling)


def ttl(stored: StoredResponse, now: float) -> int:
    """Whole seconds of freshness that a response has left; below 0 once it is stale."""
    return math.floor(stored.freshness.lifetime - stored.age(now))


_of_whole = lru_cache(maxsize=1024)(heads.of_whole)


# Most responses have one of few lifetimes, and many came in the same second.
@lru_cache(maxsize=4096)
def _told(left: int, age: int) -> tuple[Handling, Fields]:
    handling = Handling(CacheStatus.HIT, ttl=left)
    return handling, heads.cache_fields(handling, age)


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
