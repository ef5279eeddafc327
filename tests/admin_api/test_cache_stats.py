"""`/cache/stats`: the cache in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin_api.statistics import WorkerStatistics, report

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
    assert total["evictions"] == {"entries": 0, "bytes": 0, "expired": 0, "purge": 0}
    assert total["collapsed"] == 0
    assert total["origin_requests"]["ok"] == 1
    assert 0 < total["uptime_seconds"] < 60
    (worker,) = answer["workers"]
    assert worker["pid"] == server.process.pid
    assert worker["hit_ratio"] == 0.75
    assert worker["entries"] == 1


def test_a_total_is_the_sum_of_its_workers() -> None:
    def worker(pid: int, hits: int, misses: int) -> WorkerStatistics:
        requests = {"hit": hits, "miss": misses}
        return WorkerStatistics(pid, pid * 1.0, 1, 100, requests, {"bytes": 2}, 3, {"ok": misses})

    answer = report([worker(1, 1, 1), worker(2, 8, 0)])
    assert answer["total"]["requests"] == {"hit": 9, "miss": 1}
    assert answer["total"]["hit_ratio"] == 0.9
    assert answer["total"]["bytes"] == 200
    assert answer["total"]["uptime_seconds"] == 2.0
    assert [each["hit_ratio"] for each in answer["workers"]] == [0.5, 1.0]
