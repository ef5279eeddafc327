"""Every metric of the proxy, with labels bound beforehand."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from proxy.core.cache_status import CacheStatus
from proxy.origin.errors import Failure

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
evictions = Counter("proxy_cache_evictions_total", "Stored responses given up.", ["reason"])
evicted = {reason: evictions.labels(reason) for reason in ("entries", "bytes", "expired", "purge")}
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
origin_bytes = Counter("proxy_origin_bytes_total", "Body bytes received from the origin.")

bytes_served = Counter("proxy_bytes_served_total", "Body bytes sent to clients.")
rate_limited = Counter("proxy_rate_limited_total", "Requests refused with 429.")
purges = Counter("proxy_purges_total", "Purge requests carried out.")
client_disconnects = Counter(
    "proxy_client_disconnects_total", "Answers that a client did not wait for."
)
