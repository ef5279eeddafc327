"""`/metrics`: what Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.origins.site import S3Site
    from tests.served.process import Serve, Served


def samples(server: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = server.admin("GET", "/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_required_names_are_there_before_any_request(serve: Serve, moto_site: S3Site) -> None:
    names = {name for name, _ in samples(serve(moto_site))}
    assert {
        "proxy_cache_hits_total",
        "proxy_cache_misses_total",
        "proxy_cache_stale_total",
        "proxy_origin_errors_total",
        "proxy_origin_latency_seconds_bucket",
        "proxy_bytes_served_total",
        "proxy_cache_entries",
        "proxy_cache_bytes",
        "proxy_cache_evictions_total",
        "proxy_revalidations_total",
        "proxy_collapsed_requests_total",
        "proxy_origin_requests_total",
        "proxy_origin_bytes_total",
        "proxy_rate_limited_total",
        "django_http_requests_before_middlewares_total",
    } <= names


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_format_follows_accept(server: Served, accept: str, content_type: str) -> None:
    response = server.admin("GET", "/metrics", headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith(content_type)
    assert response.headers["Vary"] == "Accept"
    assert response.text.endswith("# EOF\n") is (content_type != "text/plain")


def test_requests_are_counted(server: Served, site: S3Site) -> None:
    site.client.put_object(Bucket=site.bucket, Key="counted", Body=b"counted")
    before = samples(server)
    for _ in range(3):
        server.get("/counted").raise_for_status()
    after = samples(server)
    grown = {name: after[name, ()] - before[name, ()] for name, labels in before if not labels}
    assert grown["proxy_cache_hits_total"] == 2
    assert grown["proxy_cache_misses_total"] == 1
    assert after["proxy_cache_entries", ()] == 1
    assert after["proxy_cache_bytes", ()] > 7


def test_evictions_are_the_caches(serve: Serve, moto_site: S3Site) -> None:
    server = serve(moto_site, CACHE_CAPACITY="2")
    for number in range(5):
        moto_site.client.put_object(Bucket=moto_site.bucket, Key=f"{number}", Body=b"x")
        server.get(f"/{number}").raise_for_status()
    server.admin("POST", "/cache/purge", json={"keys": ["4", "gone"]}).raise_for_status()
    found = samples(server)
    by_reason = {
        labels[0][1]: value
        for (name, labels), value in found.items()
        if name == "proxy_cache_evictions_total"
    }
    assert by_reason == {
        "entries": 3,
        "bytes": 0,
        "expired": 0,
        "absences": 0,
        "purge": 1,
    }
    assert found["proxy_cache_entries", ()] == 1
    assert found["proxy_purges_total", ()] == 1
