"""The table of what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contestants import serve_takes
from bench.crowds import Crowd
from bench.entries import Entries
from bench.hits import HitComparison, Peer, one_object, zipf_objects
from bench.measurement import at_least
from bench.misses import FirstByte, Misses
from bench.replicas import PurgeOverReplicas, Replicas
from bench.starts import Start
from bench.streams import Streaming
from bench.tiers import Tiers
from bench.workers import PurgeOverWorkers, Workers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bench.contestants import Contestant, Stage
    from bench.plan import Workload

_KIB, _MIB = 1 << 10, 1 << 20


def _nginx(
    target: float, *, sendfile: bool = False, access_log: bool = False, limit: bool = False
) -> tuple[Peer, ...]:
    """nginx as fast as it goes for the workload."""
    return (
        Peer(
            "nginx",
            lambda stage: stage.nginx(sendfile=sendfile, access_log=access_log, limit=limit),
            at_least(target),
        ),
    )


_NGINX_WITH_SENDFILE = Peer(
    "nginx",
    lambda stage: stage.nginx(sendfile=True),
    None,
    name="nginx with sendfile",
    note="sendfile on is what Debian's nginx.conf has; off is faster for small bodies",
)
_VARNISH = Peer("varnish", lambda stage: stage.varnish(), at_least(5))


def _through_the_view(stage: Stage) -> AbstractContextManager[Contestant]:
    """With the fast door off, or where `serve` cannot do that, on uvicorn's protocol."""
    if serve_takes("--http"):
        return stage.s3proxy(arguments=("--http", "plain"))
    return stage.view("s3proxy", "lean")


def workloads() -> tuple[Workload, ...]:
    """In the order of the report."""
    return (
        HitComparison(
            "hit-1k",
            "hit, 1 KiB",
            one_object(_KIB),
            (*_nginx(0.95), _NGINX_WITH_SENDFILE, _VARNISH),
        ),
        HitComparison(
            "hit-1k-log",
            "hit, 1 KiB, access log on",
            one_object(_KIB),
            _nginx(0.7, access_log=True),
            ours=lambda stage: stage.s3proxy({"ACCESS_LOG": "on"}),
        ),
        HitComparison(
            "hit-1k-limit",
            "hit, 1 KiB, rate limit on",
            one_object(_KIB),
            _nginx(0.6, limit=True),
            ours=lambda stage: stage.s3proxy({"RATE_LIMIT_RPS": "900000"}),
        ),
        HitComparison(
            "304",
            "304 from memory",
            one_object(_KIB),
            _nginx(0.95),
            fields={"If-None-Match": "{etag}"},
            status=304,
        ),
        HitComparison(
            "206",
            "206 from memory, 1 KiB of 64",
            one_object(64 * _KIB),
            _nginx(0.95),
            fields={"Range": "bytes=4096-5119"},
            status=206,
        ),
        HitComparison("hit-64k", "hit, 64 KiB", one_object(64 * _KIB), _nginx(1.0, sendfile=True)),
        HitComparison("hit-1m", "hit, 1 MiB", one_object(_MIB), _nginx(1.0), sink=True),
        HitComparison(
            "zipf",
            "mixed sizes, Zipf 0.9, all cached",
            zipf_objects,
            _nginx(0.9, sendfile=True),
            ours=lambda stage: stage.s3proxy({"CACHE_CAPACITY": "20000"}),
        ),
        HitComparison(
            "view",
            "hit, 1 KiB, through the Django view",
            one_object(_KIB),
            (Peer("stock", lambda stage: stage.view("stock Django", "stock"), at_least(8)),),
            ours=_through_the_view,
        ),
        Misses(),
        FirstByte(),
        Streaming(),
        Crowd(),
        Entries(),
        Start(),
        Workers(),
        PurgeOverWorkers(),
        Replicas(),
        Tiers(),
        PurgeOverReplicas(),
    )
