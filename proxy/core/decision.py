"""What to do with a request, given what is stored: RFC 9111 §4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.cache_status import Forward

if TYPE_CHECKING:
    from proxy.core.cache_control import RequestDirectives
    from proxy.core.freshness import Freshness
    from proxy.core.messages import Request, StoredResponse


@dataclass(frozen=True, slots=True)
class Hit:
    """Send the stored response."""

    stored: StoredResponse


@dataclass(frozen=True, slots=True)
class ServeStale:
    """Send the stale response at once, validating it in the background if ``revalidate``."""

    stored: StoredResponse
    revalidate: bool


@dataclass(frozen=True, slots=True)
class Validate:
    """Ask the origin whether the stored response still holds, then answer."""

    stored: StoredResponse
    reason: Forward


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the object from the origin."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """``only-if-cached``, and nothing stored may be used: 504 (RFC 9111 §5.2.1.7)."""


Decision = Hit | ServeStale | Validate | Fetch | Refuse


def is_reusable(freshness: Freshness, age: float) -> bool:
    """May a response of this age be sent to whoever states no directives (RFC 9111 §4)?"""
    return not freshness.no_cache and age < freshness.lifetime


def decide(request: Request, stored: StoredResponse | None, now: float) -> Decision:
    """Choose the way of a request; ``now`` in seconds since the epoch."""
    wanted = request.directives
    if stored is None:
        return Refuse() if wanted.only_if_cached else Fetch()

    if stored.vary is not None and not stored.vary.selects(request.fields):
        # §4.1: not without validation; the origin may say that it is the same all the same.
        return Refuse() if wanted.only_if_cached else Validate(stored, Forward.VARY_MISS)

    freshness = stored.freshness
    age = stored.age(now)
    staleness = age - freshness.lifetime
    asked_for_less = (
        wanted.no_cache
        or (wanted.max_age is not None and age > wanted.max_age)
        # max-age=0 asks for validation even in the very second of arrival (RFC 9111 §5.2.1.1).
        or wanted.max_age == 0
    )
    fresh = is_reusable(freshness, age)
    if not freshness.no_cache and not asked_for_less:
        if fresh:
            if wanted.min_fresh is None or -staleness >= wanted.min_fresh:
                return Hit(stored)
            asked_for_less = True
        elif staleness < freshness.stale_while_revalidate and _takes_stale(wanted, staleness):
            return ServeStale(stored, revalidate=not wanted.only_if_cached)
        elif (
            wanted.max_stale is not None
            and freshness.may_be_stale
            and staleness <= wanted.max_stale
        ):
            return ServeStale(stored, revalidate=False)

    if wanted.only_if_cached:
        return Refuse()
    return Validate(stored, Forward.REQUEST if fresh and asked_for_less else Forward.STALE)


def _takes_stale(wanted: RequestDirectives, staleness: float) -> bool:
    """Does the client leave it to the cache to send something this stale?"""
    if wanted.max_stale is not None:
        # RFC 9111 §5.2.1.2: by no more than the specified number of seconds.
        return staleness <= wanted.max_stale
    # §5.2.1.1, §5.2.1.3: who bounds the age, or wants freshness left, wants nothing stale.
    return wanted.max_age is None and wanted.min_fresh is None


def may_stand_in(request: Request, stored: StoredResponse, now: float) -> bool:
    """May it be sent in place of an answer that the origin failed to give (RFC 5861 §4)?"""
    freshness = stored.freshness
    if freshness.no_cache or (stored.vary is not None and not stored.vary.selects(request.fields)):
        return False
    window = max(freshness.stale_if_error, freshness.stale_while_revalidate, 0.0)
    if request.directives.stale_if_error is not None:
        # The client's own word, where the response leaves it any.
        window = float(request.directives.stale_if_error) if freshness.may_be_stale else 0.0
    return stored.age(now) - freshness.lifetime < window
