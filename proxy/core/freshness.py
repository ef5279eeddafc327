"""How long a response may be used: RFC 9111 §4.2, RFC 5861."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.core.cache_control import ResponseDirectives


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator configured; durations in seconds, sizes in bytes."""

    ttl: float
    stale_while_revalidate: float
    stale_if_error: float
    negative_ttl: float
    max_object_size: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """A response's freshness lifetime with the windows beyond it, in seconds."""

    lifetime: float
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    no_cache: bool = False
    must_revalidate: bool = False

    @property
    def may_be_stale(self) -> bool:
        """May it ever be sent stale, by leave of the client's ``max-stale``, say?"""
        return not (self.no_cache or self.must_revalidate)


def current_age(initial_age: float, response_time: float, now: float) -> float:
    """Current age in seconds, RFC 9111 §4.2.3; times in seconds since the epoch.

    A wall clock that was set back must not make a response younger than it arrived.
    """
    return initial_age + max(0.0, now - response_time)


def explicit_lifetime(
    directives: ResponseDirectives, expires: str | None, expires_at: float | None, date: float
) -> float | None:
    """The lifetime that the origin stated, in seconds: RFC 9111 §4.2.1 for a shared cache.

    ``expires`` is the field's value, None where it was not sent; ``expires_at`` what it says,
    None where that is no date. An Expires that is no date ("0") is in the past, §5.3.
    """
    if directives.s_maxage is not None:
        return float(directives.s_maxage)
    if directives.max_age is not None:
        return float(directives.max_age)
    if expires is not None:
        return 0.0 if expires_at is None else max(0.0, expires_at - date)
    return None


def freshness_of(
    status: int, directives: ResponseDirectives, stated: float | None, policy: Policy
) -> Freshness:
    """Lifetime and windows of a response whose stated lifetime is ``stated`` seconds."""
    if stated is not None:
        lifetime = stated
    else:
        lifetime = policy.ttl if status == 200 else policy.negative_ttl
    must_revalidate = directives.must_revalidate or directives.proxy_revalidate
    if directives.no_cache or must_revalidate:
        # RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8: never without validation once it is stale.
        return Freshness(lifetime, 0.0, 0.0, directives.no_cache, must_revalidate)

    # RFC 9111 §5.2.2.10: s-maxage has the semantics of proxy-revalidate, so that the operator's
    # windows do not apply. What the object says of itself does. A 404 is not worth keeping
    # past its time: the object may have been written meanwhile.
    configured = status == 200 and directives.s_maxage is None
    swr: float | None = directives.stale_while_revalidate
    if swr is None:
        # A lifetime of nothing asks for validation on each use; a window would undo that.
        swr = policy.stale_while_revalidate if configured and lifetime > 0 else 0.0
    sie: float | None = directives.stale_if_error
    if sie is None:
        sie = policy.stale_if_error if configured else 0.0
    return Freshness(
        lifetime,
        float(swr),
        float(sie),
        # s-maxage forbids max-stale too, unless the object itself opened a window.
        must_revalidate=directives.s_maxage is not None and not (swr or sie),
    )


def corrected_initial_age(
    age_value: float, date: float, request_time: float, response_time: float
) -> float:
    """Age on arrival in seconds, RFC 9111 §4.2.3."""
    apparent_age = max(0.0, response_time - date)
    response_delay = max(0.0, response_time - request_time)
    return max(apparent_age, age_value + response_delay)
