"""Every metric of what replicas share, with labels bound beforehand."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_reads = Counter("proxy_fleet_tier_reads_total", "Look-ups in the second tier.", ["outcome"])
reads = {
    outcome: _reads.labels(outcome)
    # stale: to be validated, or softly purged; purged: forbidden; skipped: Redis rests, or the
    # purges are not known; malformed: not what any replica of this version writes.
    for outcome in ("hit", "stale", "miss", "purged", "skipped", "malformed", "error")
}
_writes = Counter("proxy_fleet_tier_writes_total", "Writes to the second tier.", ["outcome"])
writes = {
    outcome: _writes.labels(outcome) for outcome in ("stored", "refused", "short_lived", "error")
}
_leases = Counter("proxy_fleet_leases_total", "How waiting for a fleet lease ended.", ["outcome"])
leases = {
    outcome: _leases.labels(outcome)
    # taken: this replica asks the origin; shared: another one's response came through the tier;
    # released: the other's is not for the tier; timeout: nothing came in time.
    for outcome in ("taken", "shared", "released", "timeout", "unavailable")
}
lease_wait = Histogram(
    "proxy_fleet_lease_wait_seconds",
    "Seconds that requests waited for another replica's origin request.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

# The worst of a server's workers is what an operator has to know.
_breaker = Gauge(
    "proxy_fleet_breaker_state",
    "Circuit breaker before Redis: 0 closed, 1 half-open, 2 open.",
    ["calls"],
    multiprocess_mode="livemax",
)
breaker = {calls: _breaker.labels(calls) for calls in ("all", "writes")}
_breaker_opened = Counter(
    "proxy_fleet_breaker_opened_total", "Times the circuit breaker opened.", ["calls"]
)
breaker_opened = {calls: _breaker_opened.labels(calls) for calls in ("all", "writes")}

_published = Counter(
    "proxy_fleet_purges_published_total", "Purges sent to other replicas.", ["outcome"]
)
published = {outcome: _published.labels(outcome) for outcome in ("ok", "delayed")}
applied = Counter("proxy_fleet_purges_applied_total", "Purges read from the stream.")
mistrusts = Counter(
    "proxy_fleet_mistrusts_total",
    "Times when purges may have been missed and everything stored became stale.",
)
lag = Gauge(
    "proxy_fleet_purge_lag_seconds",
    "Seconds from the last purge's entry into the stream to its application here.",
    multiprocess_mode="livemax",
)
following = Gauge(
    "proxy_fleet_following",
    "Whether the purge stream is being followed (1) or not (0).",
    multiprocess_mode="livemin",
)
_limits = Counter(
    "proxy_fleet_limit_counts_total", "Requests counted for the rate limit.", ["where"]
)
limits = {where: _limits.labels(where) for where in ("fleet", "local")}
