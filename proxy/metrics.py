"""Every metric of the proxy, with labels bound beforehand."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, cast

from django.core.cache import caches
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from proxy import processes
from proxy.core.cache_status import CacheStatus
from proxy.origin.errors import Failure
from proxy.shared_values import SharedValue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from proxy.cache.backend import MemoryCache


_WORD_BYTES = 8


# The words of a row: fresh answers from memory, and their bodies' bytes.
HITS, BYTES_SERVED = range(2)


class Tally:
    """What the fastest answers count: a word each, in memory that workers share.

    A row belongs to an index, and so outlives a worker; adding to a word costs a tenth of what a
    counter's ``inc`` does.
    """

    def __init__(self) -> None:
        self._make_rows(0)

    @property
    def row(self) -> memoryview[int]:
        """This process's words: HITS and BYTES_SERVED. It counts by adding to them."""
        return self._row

    def counted(self, word: int, index: int | None) -> int:
        """What was counted under an index, or under all."""
        rows = self._rows if index is None else self._rows[index : index + 1]
        return sum(row[word] for row in rows)

    def share(self, highest: int) -> None:
        """Make rows for processes up to an index, keeping this one's counts."""
        before = self._row
        self._make_rows(highest)
        self._row[:] = before

    def take(self, index: int) -> None:
        """Count in an index's row from now on."""
        self._row = self._rows[index]

    def _make_rows(self, highest: int) -> None:
        # A cache line each, so that the workers do not get into each other's way.
        words = memoryview(mmap.mmap(-1, (highest + 1) * 8 * _WORD_BYTES)).cast("Q")
        self._rows = [words[index * 8 : index * 8 + 2] for index in range(highest + 1)]
        self._row = self._rows[0]


tally = Tally()
processes.before_fork.append(tally.share)
processes.on_become.append(tally.take)


class TalliedCounter(Counter):
    """A counter that some of its events reach by way of the tally."""

    def __init__(self, name: str, documentation: str, word: int) -> None:
        self._word = word
        super().__init__(name, documentation)

    def collect(self) -> Iterable[Metric]:
        families = list(super().collect())
        counted = tally.counted(self._word, None)
        for family in families:
            family.samples = [
                sample._replace(value=sample.value + counted)
                if sample.name.endswith("_total")
                else sample
                for sample in family.samples
            ]
        return families

    def tallied(self, index: int) -> int:
        """What the tally counted under an index."""
        return tally.counted(self._word, index)


hits = TalliedCounter("proxy_cache_hits_total", "Requests answered from memory, fresh.", HITS)
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
# The server's, whichever worker is asked.
entries.set_function(lambda: _objects().entries)
stored_bytes.set_function(lambda: _objects().bytes)


def _objects() -> MemoryCache:
    return cast("MemoryCache", caches["default"])


class Evictions(Collector):
    """What the cache counts by itself, beside what purges removed; read when it is asked for."""

    def __init__(self) -> None:
        self.purged = Counter("proxy_cache_purged_total", "Stored responses purged.", registry=None)
        self.absences = Counter(
            "proxy_cache_absences_evicted_total", "Absences beyond their share.", registry=None
        )

    def by_reason(self) -> dict[str, int]:
        """Stored responses given up, by reason."""
        given_up = dict[str, int](_objects().evictions.items())
        return given_up | {"absences": counted(self.absences), "purge": counted(self.purged)}

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


def counted(counter: Counter, index: int | None = None) -> int:
    """What a counter without labels, or a child of one that has some, counted.

    By all processes that ever were, or under one index.
    """
    if index is None:
        samples = next(iter(counter.collect())).samples
        return int(next(sample.value for sample in samples if sample.name.endswith("_total")))
    value = counter._value  # noqa: SLF001
    own = value.of(index) if isinstance(value, SharedValue) else value.get()
    return int(own) + (counter.tallied(index) if isinstance(counter, TalliedCounter) else 0)


evictions = Evictions()
REGISTRY.register(evictions)
evicted = {"absences": evictions.absences, "purge": evictions.purged}
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

bytes_served = TalliedCounter(
    "proxy_bytes_served_total", "Body bytes sent to clients.", BYTES_SERVED
)
rate_limited = Counter("proxy_rate_limited_total", "Requests refused with 429.")
purges = Counter("proxy_purges_total", "Purge requests carried out.")
client_disconnects = Counter(
    "proxy_client_disconnects_total", "Answers that a client did not wait for."
)

_restarts = Counter("proxy_worker_restarts_total", "Workers replaced by another.", ["reason"])
restarts = {reason: _restarts.labels(reason) for reason in ("exited", "killed", "hung", "reload")}
