"""One histogram, told as django-prometheus' families."""

from __future__ import annotations

import math

import pytest
from django_prometheus.conf import PROMETHEUS_LATENCY_BUCKETS
from django_prometheus.middleware import Metrics
from prometheus_client import REGISTRY, Histogram
from prometheus_client.utils import floatToGoString

from proxy.request_counts import RequestCounts

LATENCY = "django_http_requests_latency_including_middlewares_seconds"
OF_VIEW = "django_http_requests_latency_seconds_by_view_method"
# Families of django-prometheus' middlewares, with the labels of the requests counted below.
FAMILIES = {
    "django_http_requests_before_middlewares_total": {},
    "django_http_responses_before_middlewares_total": {},
    "django_http_requests_total_by_method_total": {"method": "GET"},
    "django_http_requests_total_by_transport_total": {"transport": "https"},
    "django_http_requests_total_by_view_transport_method_total": {
        "view": "a view", "transport": "https", "method": "GET"
    },
    "django_http_responses_total_by_status_total": {"status": "201"},
    "django_http_responses_total_by_status_view_method_total": {
        "status": "201", "view": "a view", "method": "GET"
    },
    f"{LATENCY}_count": {},
    f"{OF_VIEW}_count": {"view": "a view", "method": "GET"},
}  # fmt: skip


def value(name: str, labels: dict[str, str]) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def count(seconds: float = 0.02, method: str = "GET", *, streaming: bool = False) -> None:
    RequestCounts().count("a view", "https", method, 201, streaming=streaming, seconds=seconds)


def test_a_request_is_counted_in_every_family() -> None:
    RequestCounts()
    before = {name: value(name, labels) for name, labels in FAMILIES.items()}
    for _ in range(3):
        count()
    assert {name: value(name, labels) - before[name] for name, labels in FAMILIES.items()} == (
        dict.fromkeys(FAMILIES, 3.0)
    )


def test_families_sum_over_the_labels_that_they_do_not_have() -> None:
    name, labels = "django_http_responses_total_by_status_total", {"status": "201"}
    before = value(name, labels)
    count(method="GET")
    count(method="HEAD")
    assert value(name, labels) - before == 2


def test_seconds_are_told_as_histograms_whose_buckets_add_up() -> None:
    def told() -> tuple[float, float, float, float]:
        return (
            value(f"{LATENCY}_sum", {}),
            value(f"{LATENCY}_bucket", {"le": "0.025"}),
            value(f"{LATENCY}_bucket", {"le": "10.0"}),
            value(f"{LATENCY}_bucket", {"le": "+Inf"}),
        )

    RequestCounts()
    before = told()
    for seconds in (0.02, 3.0, 100.0):
        count(seconds)
    total, *buckets = (now - then for now, then in zip(told(), before, strict=True))
    assert round(total, 6) == 103.02
    assert buckets == [1, 2, 3]


def test_streams_are_counted_beside() -> None:
    name = "django_http_responses_streaming_total"
    before = value(name, {})
    count(streaming=True)
    count()
    assert value(name, {}) - before == 1


def test_what_a_client_makes_up_is_no_label() -> None:
    name = "django_http_requests_total_by_method_total"
    before = value(name, {"method": "<invalid method>"})
    count(method="MADE-UP")
    assert value(name, {"method": "<invalid method>"}) - before == 1
    assert REGISTRY.get_sample_value(name, {"method": "MADE-UP"}) is None


def test_what_django_prometheus_counts_itself_is_told_as_well() -> None:
    name, labels = "django_http_requests_total_by_method_total", {"method": "GET"}
    RequestCounts()
    before = value(name, labels)
    Metrics.get_instance().requests_by_method.labels("GET").inc()
    count()
    assert value(name, labels) - before == 2


def test_no_family_is_told_twice() -> None:
    count()
    names = [family.name for family in REGISTRY.collect()]
    assert len(names) == len(set(names))
    assert "proxy_requests_seconds" not in names


@pytest.mark.parametrize("near", PROMETHEUS_LATENCY_BUCKETS[:-1])
def test_seconds_are_in_the_bucket_that_prometheus_client_has_for_them(near: float) -> None:
    # Its private names: counted is without its observe().
    for seconds in (math.nextafter(near, 0), near, math.nextafter(near, math.inf)):
        theirs = Histogram("h", "h", buckets=PROMETHEUS_LATENCY_BUCKETS, registry=None)
        theirs.observe(seconds)
        [family] = theirs.collect()
        expected = [sample.value for sample in family.samples if sample.name == "h_bucket"]
        before = told_buckets()
        count(seconds)
        assert [now - then for now, then in zip(told_buckets(), before, strict=True)] == expected


def told_buckets() -> list[float]:
    bounds = [floatToGoString(bound) for bound in PROMETHEUS_LATENCY_BUCKETS]  # type: ignore[no-untyped-call]
    return [value(f"{LATENCY}_bucket", {"le": bound}) for bound in bounds]
