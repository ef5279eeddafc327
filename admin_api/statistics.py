"""How a worker's cache is doing, in numbers."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import admin_api
from proxy import conf, metrics
from proxy.service import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Counter


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """Counted since the worker began, ``uptime_seconds`` ago; ``bytes`` with bookkeeping."""

    pid: int
    uptime_seconds: float
    entries: int
    bytes: int
    requests: dict[str, int]
    evictions: dict[str, int]
    collapsed: int
    origin_requests: dict[str, int]

    @classmethod
    def of_this_process(cls) -> WorkerStatistics:
        """Those of the process that asks."""
        stored = store()
        metrics.tally.settle()
        return cls(
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - admin_api.STARTED, 3),
            entries=stored.entries,
            bytes=stored.bytes,
            requests={
                status.value.lower(): _count(counter)
                for status, counter in metrics.by_cache_status.items()
            },
            evictions=metrics.evictions.by_reason(),
            collapsed=_count(metrics.collapsed),
            origin_requests={
                outcome: _count(counter) for outcome, counter in metrics.origin_requests.items()
            },
        )


def report(workers: Sequence[WorkerStatistics]) -> dict[str, Any]:
    """Each worker, all together; ready for JSON.

    ``hit_ratio`` is hits among the requests that the cache had a part in, null without any.
    """
    config = conf.config()
    requests = _sums([worker.requests for worker in workers])
    return {
        "total": {
            "uptime_seconds": max(worker.uptime_seconds for worker in workers),
            "entries": sum(worker.entries for worker in workers),
            "capacity": config.cache_capacity,
            "bytes": sum(worker.bytes for worker in workers),
            "max_bytes": config.cache_max_bytes,
            "hit_ratio": _hit_ratio(requests),
            "requests": requests,
            "evictions": _sums([worker.evictions for worker in workers]),
            "collapsed": sum(worker.collapsed for worker in workers),
            "origin_requests": _sums([worker.origin_requests for worker in workers]),
        },
        "workers": [
            asdict(worker) | {"hit_ratio": _hit_ratio(worker.requests)} for worker in workers
        ],
    }


def _count(counter: Counter) -> int:
    family = next(iter(counter.collect()))
    return int(next(sample.value for sample in family.samples if sample.name.endswith("_total")))


def _sums(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def _hit_ratio(requests: dict[str, int]) -> float | None:
    total = sum(requests.values())
    return round(requests["hit"] / total, 4) if total else None
