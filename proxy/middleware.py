"""What every request goes through, whichever view it has: identity, limit, measurement."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.utils.decorators import async_only_middleware
from django_prometheus.middleware import Metrics

from proxy import conf, metrics
from proxy.clients import Clients
from proxy.limits import seconds_to_wait, seconds_to_wait_in_fleet
from proxy.request_id import new_request_id
from proxy.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponseBase
    from prometheus_client import Counter, Histogram

    from s3proxy_site.env import Config

    AsyncView = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]

# The method is a label: what a client makes up must not become one.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"}
)
_HEALTH_PATH = "/healthz"
# Of view, transport, method and status: there are not many.
_COMBINATIONS = 512


@async_only_middleware
def observe(get_response: AsyncView) -> AsyncView:
    """Give the request an id and a client, refuse it over the limit, and count it.

    Counts what django-prometheus' two middlewares count of any Django project, without their
    thread hops.
    """
    # Made now, so that a worker tells of what others counted before it has counted itself.
    Metrics.get_instance()
    bound = lru_cache(_COMBINATIONS)(_bound)
    clients: Clients | None = None
    clients_config: Config | None = None

    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        nonlocal clients, clients_config
        started = time.perf_counter()
        config = conf.config()
        if clients is None or config is not clients_config:
            clients, clients_config = Clients(config), config
        scope = cast("dict[str, Any]", request.scope)
        peer = scope.get("client")
        lines = clients.lines(scope["headers"])
        client = clients.client(peer[0] if peer else None, lines).address
        scope["s3proxy.client"] = client
        scope["s3proxy.request_id"] = request_id = new_request_id()

        wait = None
        if config.rate_limit_rps and not _asks_for_health(scope["path"], config.admin_prefix):
            if config.redis_url is None:
                wait = seconds_to_wait(request, client, config.rate_limit_rps)
            else:
                wait = await seconds_to_wait_in_fleet(request, client, config.rate_limit_rps)
        if wait is None:
            response = await get_response(request)
        else:
            metrics.rate_limited.inc()
            response = error_response(request, 429, ((b"retry-after", b"%d" % wait),))
        response.headers["X-Request-ID"] = request_id

        method = request.method if request.method in _METHODS else "<invalid method>"
        match = request.resolver_match
        view = (match.view_name if match else None) or "<unnamed view>"
        counted = bound(view, request.scheme, method, str(response.status_code))
        for counter in counted.counters:
            counter.inc()
        if response.streaming:
            counted.streaming.inc()
        elapsed = time.perf_counter() - started
        for latency in counted.latencies:
            latency.observe(elapsed)
        return response

    return middleware


class _Bound(NamedTuple):
    """django-prometheus' metrics of one kind of request, with their labels."""

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


def _asks_for_health(path: str, admin_prefix: str) -> bool:
    return path in (_HEALTH_PATH, admin_prefix + _HEALTH_PATH)
