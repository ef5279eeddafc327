"""Every metric of the proxy, with labels bound beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.core.cache import caches
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from proxy.core.cache_status import CacheStatus
from proxy.origin.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from proxy.cache.backend import MemoryCache


class Tally(Collector):
    """What the fastest answers count: whole numbers, added to the counters before these are read.

    Registered before every other metric, because a registry reads in that order.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.bytes_served = 0

    def settle(self) -> None:
        """Add what has been counted to the counters."""
        counted, self.hits = self.hits, 0
        hits.inc(counted)
        counted, self.bytes_served = self.bytes_served, 0
        bytes_served.inc(counted)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        self.settle()
        return []


tally = Tally()
REGISTRY.register(tally)

hits = Counter("proxy_cache_hits_total", "Requests answered from memory, fresh.")
misses = Counter("proxy_cache_misses_total", "Requests whose object came from the origin.")
stale = Counter("proxy_cache_stale_total", "Requests answered with a stale stored response.")
revalidated = Counter(
    "proxy_cache_revalidated_total", "Requests answered from memory after a 304 of the origin."
)
bypasses = Counter("proxy_cache_bypass_total", "Requests streamed from the origin past the cache.")

by_cache_status = {
    CacheStatus.HIT: hits,
    CacheStatus.MISS: misses,
    CacheStatus.STALE: stale,
    CacheStatus.REVALIDATED: revalidated,
    CacheStatus.BYPASS: bypasses,
}

entries = Gauge("proxy_cache_entries", "Stored responses.")
stored_bytes = Gauge("proxy_cache_bytes", "Bytes of stored responses, bookkeeping included.")


class Evictions(Collector):
    """What the cache counts by itself, beside what purges removed; read when it is asked for."""

    def __init__(self) -> None:
        self.purged = Counter("proxy_cache_purged_total", "Stored responses purged.", registry=None)

    def by_reason(self) -> dict[str, int]:
        """Stored responses given up, by reason."""
        cache = cast("MemoryCache", caches["default"])
        purged = next(iter(self.purged.collect())).samples[0].value
        return dict[str, int](cache.evictions.items()) | {"purge": int(purged)}

    def describe(self) -> Iterable[Metric]:
        """The name alone: with no such method, registering would look at the cache."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for reason, count in self.by_reason().items():
            family.add_metric([reason], count)
        return [family]

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(
            "proxy_cache_evictions", "Stored responses given up.", labels=["reason"]
        )


evictions = Evictions()
REGISTRY.register(evictions)
evicted = {"purge": evictions.purged}
collapsed = Counter(
    "proxy_collapsed_requests_total", "Requests that shared another's origin request."
)
_revalidations = Counter("proxy_revalidations_total", "Conditional origin requests.", ["outcome"])
revalidations = {
    outcome: _revalidations.labels(outcome)
    for outcome in ("not_modified", "replaced", "removed", "failed")
}

_origin_requests = Counter("proxy_origin_requests_total", "Requests to the origin.", ["outcome"])
origin_requests = {
    outcome: _origin_requests.labels(outcome)
    for outcome in ("ok", "not_modified", "not_found", "access_denied", "error")
}
_origin_errors = Counter("proxy_origin_errors_total", "Failed origin requests.", ["reason"])
origin_errors = {failure: _origin_errors.labels(failure.value) for failure in Failure}
access_denied = _origin_errors.labels("access_denied")
origin_retries = Counter("proxy_origin_retries_total", "Repeated origin requests.")
origin_latency = Histogram(
    "proxy_origin_latency_seconds",
    "Seconds from sending a request to the origin to its response head.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
origin_under_way = Gauge(
    "proxy_origin_under_way", "Origin requests under way.", multiprocess_mode="livesum"
)
origin_waiting = Gauge(
    "proxy_origin_waiting",
    "Origin requests that wait because S3_MAX_CONCURRENCY are under way.",
    multiprocess_mode="livesum",
)
_origin_refused = Counter(
    "proxy_origin_refused_total",
    "Origin requests not made because too many were under way and waiting.",
    ["cause"],
)
origin_refused = {
    cause: _origin_refused.labels(cause) for cause in ("line_full", "waited_too_long")
}
origin_taken_back = Counter(
    "proxy_origin_taken_back_total",
    "Connections that slow readers held, given to origin requests that waited.",
)
origin_bytes = Counter("proxy_origin_bytes_total", "Body bytes received from the origin.")

bytes_served = Counter("proxy_bytes_served_total", "Body bytes sent to clients.")
rate_limited = Counter("proxy_rate_limited_total", "Requests refused with 429.")
purges = Counter("proxy_purges_total", "Purge requests carried out.")
client_disconnects = Counter(
    "proxy_client_disconnects_total", "Answers that a client did not wait for."
)
