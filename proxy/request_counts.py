"""Counts requests as django-prometheus' middlewares do of any Django project."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from django_prometheus.middleware import Metrics

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

# The method is a label: what a client makes up must not become one.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"}
)
# Of view, transport, method and status: there are not many.
_COMBINATIONS = 512


class RequestCounts:
    """django-prometheus' metrics, without its middlewares' thread hops."""

    def __init__(self) -> None:
        # Made now, so that a worker tells of what others counted before it has counted itself.
        Metrics.get_instance()
        self._bound = lru_cache(_COMBINATIONS)(_bound)

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
        counted = self._bound(view or "<unnamed view>", str(transport), known, str(status))
        for counter in counted.counters:
            counter.inc()
        if streaming:
            counted.streaming.inc()
        for latency in counted.latencies:
            latency.observe(seconds)


class _Bound(NamedTuple):
    """The metrics of one kind of request, with their labels."""

    counters: tuple[Counter, ...]
    streaming: Counter
    latencies: tuple[Histogram, ...]


def _bound(view: str, transport: str, method: str, status: str) -> _Bound:
    metrics = Metrics.get_instance()
    return _Bound(
        (
            metrics.requests_total,
            metrics.responses_total,
            metrics.requests_by_method.labels(method),
            metrics.requests_by_transport.labels(transport),
            metrics.requests_by_view_transport_method.labels(view, transport, method),
            metrics.responses_by_status.labels(status),
            metrics.responses_by_status_view_method.labels(status, view, method),
        ),
        metrics.responses_streaming,
        (
            metrics.requests_latency_before,
            metrics.requests_latency_by_view_method.labels(view, method),
        ),
    )
