"""`/cache/stats`: the cache in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.origins.site import S3Site
    from tests.served.process import Serve


def test_it_counts(serve: Serve, moto_site: S3Site) -> None:
    server = serve(moto_site, CACHE_CAPACITY="10", CACHE_MAX_BYTES="32MiB")
    assert server.admin("GET", "/cache/stats").json()["total"]["hit_ratio"] is None
    moto_site.client.put_object(Bucket=moto_site.bucket, Key="a", Body=b"x" * 1000)
    for _ in range(4):
        server.get("/a").raise_for_status()
    answer = server.admin("GET", "/cache/stats").json()
    total = answer["total"]
    assert total["requests"] == {"hit": 3, "miss": 1, "stale": 0, "revalidated": 0, "bypass": 0}
    assert total["hit_ratio"] == 0.75
    assert total["entries"] == 1
    assert total["capacity"] == 10
    assert 1000 < total["bytes"] < 4000
    assert total["max_bytes"] == 32 * 2**20
    assert total["evictions"] == {
        "entries": 0,
        "bytes": 0,
        "expired": 0,
        "absences": 0,
        "purge": 0,
    }
    assert total["collapsed"] == 0
    assert total["origin_requests"]["ok"] == 1
    assert 0 < total["uptime_seconds"] < 60
    (worker,) = answer["workers"]
    assert (worker["index"], worker["pid"]) == (1, server.worker_pids()[0])
    assert worker["state"] == "ready"
    assert 0 < worker["uptime_seconds"] < total["uptime_seconds"]
    assert worker["requests"] == total["requests"]
    assert worker["hit_ratio"] == 0.75
