"""Counts requests as django-prometheus' middlewares do of any Django project.

Each of django-prometheus' families counts the same requests by other labels. So a request is
counted once, by all labels together, and what a family has of that is worked out when somebody
reads it.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from django_prometheus.conf import PROMETHEUS_LATENCY_BUCKETS
from django_prometheus.middleware import Metrics
from prometheus_client import REGISTRY, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

# The method is a label: what a client makes up must not become one.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"}
)
# Of view, transport, method and status: there are not many.
_COMBINATIONS = 512

_NAME = "proxy_requests_seconds"
_COUNT = "_count"
_SUFFIXES = frozenset({"_bucket", _COUNT, "_sum"})

_Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RequestCounts:
    """django-prometheus' metrics, without its middlewares' thread hops."""

    def __init__(self) -> None:
        # Made now, so that a worker tells of what others counted before it has counted itself.
        self._observer = _told().observer
        self._streaming = Metrics.get_instance().responses_streaming

    def count(
        self,
        view: str | None,
        transport: str | None,
        method: str | None,
        status: int,
        *,
        streaming: bool,
        seconds: float,
    ) -> None:
        """Count a request to which there is an answer, after so many seconds."""
        known = method if method in _METHODS else "<invalid method>"
        self._observer(view, transport, known, status)(seconds)
        if streaming:
            self._streaming.inc()


class _Told(Collector):
    """The one histogram, told as django-prometheus' families."""

    def __init__(self) -> None:
        self._seconds = Histogram(
            _NAME,
            "Seconds that requests took.",
            ["view", "transport", "method", "status"],
            buckets=PROMETHEUS_LATENCY_BUCKETS,
            registry=None,
        )
        # Bound once each: `labels` takes as long as all the rest.
        self.observer = functools.lru_cache(_COMBINATIONS)(self._observer)
        # By the histogram's name this is asked for labels that other processes counted under.
        self.labels = self._seconds.labels
        self._families: list[tuple[Callable[[], Iterable[Metric]], tuple[str, ...]]] = []
        told = Metrics.get_instance()
        for metric, labels in (
            (told.requests_total, ()),
            (told.responses_total, ()),
            (told.requests_by_method, ("method",)),
            (told.requests_by_transport, ("transport",)),
            (told.requests_by_view_transport_method, ("view", "transport", "method")),
            (told.responses_by_status, ("status",)),
            (told.responses_by_status_view_method, ("status", "view", "method")),
            (told.requests_latency_before, ()),
            (told.requests_latency_by_view_method, ("view", "method")),
        ):
            self._families.append((metric.collect, labels))
            # Told here. It stays registered, and what django-prometheus' own middlewares count in
            # it, where somebody runs them as well, is told too.
            metric.collect = _nothing
        REGISTRY.register(self)

    def describe(self) -> Iterable[Metric]:
        """The histogram alone: the families are known by name already."""
        return self._seconds.describe()

    def collect(self) -> Iterable[Metric]:
        """Each family's own samples, with those of all requests added."""
        seen = [sample for family in self._seconds.collect() for sample in family.samples]
        for own, labels in self._families:
            for family in own():
                values: _Values = {}
                for sample in family.samples:
                    _add(values, sample.name.removeprefix(family.name), sample, sample.labels)
                for sample in seen:
                    suffix = sample.name.removeprefix(_NAME)
                    if family.type == "counter":
                        if suffix == _COUNT:
                            _add(values, "_total", sample, labels)
                    elif suffix in _SUFFIXES:
                        _add(values, suffix, sample, (*labels, "le"))
                family.samples = []
                for (suffix, labelled), value in values.items():
                    family.add_sample(family.name + suffix, dict(labelled), value)
                yield family

    def _observer(
        self, view: str | None, transport: str | None, method: str, status: int
    ) -> Callable[[float], None]:
        bound: Any = self._seconds.labels(
            view or "<unnamed view>", str(transport), method, str(status)
        )
        # As its observe() does, without the questions that it asks and the walk over the bounds:
        # a microsecond and a half a request.
        total, buckets, bounds = bound._sum, bound._buckets, bound._upper_bounds  # noqa: SLF001

        def observe(seconds: float) -> None:
            total.inc(seconds)
            buckets[bisect_left(bounds, seconds)].inc(1)

        return observe


def _nothing() -> Iterable[Metric]:
    return []


def _add(values: _Values, suffix: str, sample: Sample, labels: Iterable[str]) -> None:
    at = suffix, tuple((name, sample.labels[name]) for name in labels if name in sample.labels)
    values[at] = values.get(at, 0.0) + sample.value


@functools.cache
def _told() -> _Told:
    """This process's: metrics are registered by name."""
    return _Told()
