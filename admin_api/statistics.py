"""How the cache is doing, in numbers."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import admin_api
from proxy import conf, metrics
from proxy.server import crew
from proxy.service import store

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted since the server began: under one index, or by all workers ever."""

    requests: dict[str, int]
    collapsed: int
    origin_requests: dict[str, int]

    @classmethod
    def under(cls, index: int | None) -> Counts:
        """Those under an index, or, with None, all."""
        return cls(
            requests={
                status.value.lower(): metrics.counted(counter, index)
                for status, counter in metrics.by_cache_status.items()
            },
            collapsed=metrics.counted(metrics.collapsed, index),
            origin_requests={
                outcome: metrics.counted(counter, index)
                for outcome, counter in metrics.origin_requests.items()
            },
        )

    @property
    def hit_ratio(self) -> float | None:
        """Hits among the requests that the cache had a part in; None without any."""
        total = sum(self.requests.values())
        return round(self.requests["hit"] / total, 4) if total else None


@dataclass(frozen=True, slots=True)
class Worker:
    """A live worker, and what was counted under its index, by it or by those it replaced."""

    index: int
    pid: int
    state: str
    uptime_seconds: float
    counts: Counts


def workers() -> list[Worker]:
    """Every live worker; outside ``serve``, this process."""
    now = time.monotonic()
    found = [
        Worker(
            seen.index,
            seen.pid,
            seen.state.name.lower(),
            round(now - seen.started, 3),
            Counts.under(seen.index),
        )
        for seen in crew.workers()
    ]
    own_uptime = round(now - admin_api.STARTED, 3)
    return found or [Worker(0, os.getpid(), "ready", own_uptime, Counts.under(0))]


def report(live: Sequence[Worker], total: Counts) -> dict[str, Any]:
    """All together, each live worker; ready for JSON.

    What dead workers counted is in the total. What is stored belongs to no worker.
    """
    config = conf.config()
    stored = store()
    return {
        "total": {
            "uptime_seconds": round(time.monotonic() - admin_api.STARTED, 3),
            "entries": stored.entries,
            "capacity": config.cache_capacity,
            "bytes": stored.bytes,
            "max_bytes": config.cache_max_bytes,
            "evictions": metrics.evictions.by_reason(),
            "worker_restarts": {
                reason: metrics.counted(counter) for reason, counter in metrics.restarts.items()
            },
            **_as_json(total),
        },
        "workers": [
            {
                "index": worker.index,
                "pid": worker.pid,
                "state": worker.state,
                "uptime_seconds": worker.uptime_seconds,
                **_as_json(worker.counts),
            }
            for worker in live
        ],
    }


def _as_json(counts: Counts) -> dict[str, Any]:
    return {"hit_ratio": counts.hit_ratio} | asdict(counts)
