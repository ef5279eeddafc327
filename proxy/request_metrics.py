"""django-prometheus' metrics of requests, made of one histogram when somebody reads them.

Each of its families counts the same requests by other labels. To count a request once, by all
labels together, takes a fifth of the time.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from django_prometheus.conf import PROMETHEUS_LATENCY_BUCKETS
from django_prometheus.middleware import Metrics
from prometheus_client import REGISTRY, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

_NAME = "proxy_requests_seconds"
# Of view, transport, method and status: there are not many.
_COMBINATIONS = 512

_COUNT = "_count"
_SUFFIXES = frozenset({"_bucket", _COUNT, "_sum"})

_Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RequestMetrics(Collector):
    """Counts requests by all that tells them apart, and tells what each family has of that.

    One in a process: metrics are registered by name.
    """

    def __init__(self) -> None:
        told = Metrics.get_instance()
        self.streaming = told.responses_streaming
        # Bound once each: `labels` takes as long as all the rest.
        self.observer = functools.lru_cache(_COMBINATIONS)(self._observer)
        self._seconds = Histogram(
            _NAME,
            "Seconds that requests took.",
            ["view", "transport", "method", "status"],
            buckets=PROMETHEUS_LATENCY_BUCKETS,
            registry=None,
        )
        # By the name of its values, the histogram is asked for labels that others counted under.
        self.labels = self._seconds.labels
        self._families: list[tuple[Callable[[], Iterable[Metric]], tuple[str, ...]]] = []
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
            # Told here. It stays registered: what django-prometheus' own middlewares count in it,
            # where somebody runs them as well, is told too.
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
        self, view: str, transport: str, method: str, status: int
    ) -> Callable[[float], None]:
        """What counts a request of such labels, given the seconds that it took."""
        observe: Callable[[float], None] = self._seconds.labels(
            view, transport, method, str(status)
        ).observe
        return observe


def _nothing() -> Iterable[Metric]:
    return []


def _add(values: _Values, suffix: str, sample: Sample, labels: Iterable[str]) -> None:
    at = suffix, tuple((name, sample.labels[name]) for name in labels if name in sample.labels)
    values[at] = values.get(at, 0.0) + sample.value


@functools.cache
def request_metrics() -> RequestMetrics:
    """This process's."""
    return RequestMetrics()
