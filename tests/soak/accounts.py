"""Judges what a server counts and uses, beside what its clients and its origin saw."""

from __future__ import annotations

import os
import re
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from tests.soak.clients import Seen
    from tests.soak.processes import Usage

MEMORY_SLACK_BYTES = 32 * 1024 * 1024
MEMORY_SLACK_SHARE = 0.15
# Of replicas' a worker's pool of connections to Valkey comes into being as it is used.
DESCRIPTOR_SLACK, DESCRIPTOR_SLACK_OF_REPLICAS = 6, 16
# An event loop's pool for blocking calls comes into being as it is used: cores + 4 at most.
THREAD_SLACK = (os.cpu_count() or 1) + 4

# Some answers of /healthz while the server began.
_HEALTH_BYTES = 100

Metrics = dict[str, float]
_SAMPLE = re.compile(r"^([a-z_]+(?:\{[^}]*\})?) ([-+.0-9einfa]+)$", re.IGNORECASE)
_BY_CACHE = {
    "HIT": "proxy_cache_hits_total",
    "MISS": "proxy_cache_misses_total",
    "STALE": "proxy_cache_stale_total",
    "REVALIDATED": "proxy_cache_revalidated_total",
    "BYPASS": "proxy_cache_bypass_total",
}
_BY_ORIGIN = {
    "ok": ("200", "206"),
    "not_modified": ("304",),
    "not_found": ("404",),
}


def parse(text: str) -> Metrics:
    """Samples of Prometheus' text format by name with labels."""
    matches = (_SAMPLE.match(line) for line in text.splitlines())
    return {match[1]: float(match[2]) for match in matches if match}


def went_backwards(before: Metrics, after: Metrics) -> Iterator[tuple[str, str]]:
    """(rule, detail) of each counter that lost something."""
    for name, value in before.items():
        kept = after.get(name)
        if _counts(name) and (kept is None or kept < value):
            yield "counter went backwards", f"{name} from {value:g} to {kept}"


def _counts(name: str) -> bool:
    return name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket")) and (
        name.startswith("proxy_")
    )


def against_clients(
    metrics: Metrics, seen: Seen, lost: int, admin_bytes: int = 0, lost_bytes: int = 0
) -> Iterator[tuple[str, str]]:
    """(rule, detail) of each number that the clients do not confirm.

    `lost` requests were in flight on workers as they were killed: counted or not; `lost_bytes`
    had just been received from them. `admin_bytes` are those of answers that nobody else received.
    """
    slack = lost + seen.uncertain
    for status, name in _BY_CACHE.items():
        counted, received = metrics.get(name, 0), seen.cache[status]
        if not received - lost <= counted <= received + slack:
            yield (
                "metrics and clients differ",
                (
                    f"{name} is {counted:g}, clients received {received} {status}; "
                    f"{lost} lost with killed workers, {seen.uncertain} unanswered"
                ),
            )
    if lost:
        return
    served, received = metrics.get("proxy_bytes_served_total", 0), seen.body_bytes + admin_bytes
    most = received + seen.uncertain_bytes + _HEALTH_BYTES
    # An unanswered request may have been sent a body of any size.
    if served < received - lost_bytes or (served > most and not seen.uncertain):
        yield (
            "metrics and clients differ",
            f"proxy_bytes_served_total is {served:.0f}, clients received {received} to {most}",
        )


def against_origin(
    metrics: Metrics, sent: Counter[str], lost: int, seen: Seen
) -> Iterator[tuple[str, str]]:
    """(rule, detail) of each number of origin requests that the origin does not confirm."""
    for outcome, statuses in _BY_ORIGIN.items():
        counted = metrics.get(f'proxy_origin_requests_total{{outcome="{outcome}"}}', 0)
        least = sum(sent[status] for status in statuses)
        most = least + sum(
            count
            for name, count in sent.items()
            if name.startswith("cut") and name.endswith(statuses)
        )
        # What was sent to a worker or server that ended meanwhile, or over a broken connection.
        slack = lost + sent["broken off"]
        if not least - slack <= counted <= most:
            yield (
                "metrics and origin differ",
                f"{outcome} is {counted:g}, the origin sent {least} to {most} (slack {slack})",
            )
    # Each answer that is no hit asks once, and at most twice where a purge or a new version
    # makes what came unusable; faults are retried twice.
    honest = sum(count for name, count in sent.items() if name.isdecimal())
    asking = seen.cache.total() - seen.cache["HIT"] + seen.uncertain
    if honest > 2 * asking + 100:
        yield "origin asked too often", f"{honest} times for {asking} answers that were no hits"


def of_memory(samples: Sequence[Usage]) -> Iterator[tuple[str, str]]:
    """(rule, detail) if a server grew after its warm-up, the first third of the samples."""
    warm = samples[len(samples) // 3 :]
    if len(warm) < 8:
        return
    quarter = len(warm) // 4
    early = statistics.median(each.memory for each in warm[:quarter])
    late = statistics.median(each.memory for each in warm[-quarter:])
    if late > early * (1 + MEMORY_SLACK_SHARE) + MEMORY_SLACK_BYTES:
        yield "memory grew", f"from {early / 2**20:.1f} MiB to {late / 2**20:.1f} MiB"


def of_resources(
    quiet: Sequence[Usage], slack: int = DESCRIPTOR_SLACK
) -> Iterator[tuple[str, str]]:
    """(rule, detail) if descriptors or threads grew between the times without any client."""
    if len(quiet) < 2:
        return
    first, last = quiet[0], quiet[-1]
    if last.descriptors > first.descriptors + slack:
        yield "descriptors grew", f"from {first.descriptors} to {last.descriptors}"
    if last.threads > first.threads + THREAD_SLACK * first.processes:
        yield "threads grew", f"from {first.threads} to {last.threads}"


def summary(metrics: Mapping[str, float]) -> dict[str, float]:
    """The proxy's own counters, without histograms."""
    return {
        name: value
        for name, value in sorted(metrics.items())
        if name.startswith("proxy_") and "_bucket" not in name
    }
