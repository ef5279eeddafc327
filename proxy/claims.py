"""The rate limit for answers that take microseconds: counted beforehand, several at a time.

A process claims a client's next requests from the shared count of the window and then admits them
without asking again. A claim is at most a hundredth of the limit, and one request where the limit
is small. So the limit is never exceeded, whoever else counts; a client may miss what a process
claimed for it and did not need. The count is the one that proxy.limits keeps through
django-ratelimit, under the same key and with the same windows, and refusing is left to it: what is
not admitted here is counted and answered there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from django.core.cache import caches
from django_ratelimit import ALL
from django_ratelimit.core import EXPIRATION_FUDGE, _get_window, _make_cache_key

from proxy.limits import window_of

if TYPE_CHECKING:
    from fractions import Fraction

    from django.core.cache import BaseCache

# As in proxy.limits, or the two would count apart; a test sees that they do not.
_GROUP, _ALIAS = "s3proxy", "ratelimit"
_LARGEST_CLAIM = 64
_SHARE_OF_LIMIT = 100
_CLIENTS = 10_000


class _Claim:
    """What is left of one client's window: so many requests, before ``until``."""

    __slots__ = ("cache_key", "is_last", "left", "until")

    def __init__(self, cache_key: str, until: int) -> None:
        self.cache_key = cache_key
        self.until = until
        self.left = 0
        self.is_last = False


class Claims:
    """Admits the requests of one process; to be used from one thread."""

    def __init__(self, requests_per_second: Fraction, cache: BaseCache | None = None) -> None:
        self._rate = window_of(requests_per_second)
        self._limit, self._period = self._rate
        self._size = max(1, min(_LARGEST_CLAIM, self._limit // _SHARE_OF_LIMIT))
        self._cache = caches[_ALIAS] if cache is None else cache
        self._claims: OrderedDict[str, _Claim] = OrderedDict()

    def take(self, client: str) -> bool:
        """Count a request of this client, by its limiter_key(); false where none is left."""
        claim = self._claims.get(client)
        # django-ratelimit counts by this clock.
        if claim is None or time.time() >= claim.until:
            claim = self._open(client)
        if claim.left == 0:
            if claim.is_last:
                return False
            self._fill(claim)
            if claim.left == 0:
                return False
        claim.left -= 1
        return True

    def _open(self, client: str) -> _Claim:
        window = _get_window(client, self._period)
        claim = _Claim(_make_cache_key(_GROUP, window, self._rate, client, ALL), window + 1)
        self._claims.pop(client, None)
        self._claims[client] = claim
        if len(self._claims) > _CLIENTS:
            self._claims.popitem(last=False)
        return claim

    def _fill(self, claim: _Claim) -> None:
        wanted = self._size
        if self._cache.add(claim.cache_key, wanted, self._period + EXPIRATION_FUDGE):
            count = wanted
        else:
            try:
                count = self._cache.incr(claim.cache_key, wanted)
            except ValueError:
                # It went in between. Whoever counts next begins anew.
                return
        claim.left = max(0, min(wanted, self._limit - (count - wanted)))
        claim.is_last = claim.left < wanted
