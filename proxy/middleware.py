"""What every request goes through, whichever view it has: identity, limit, measurement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from django.utils.decorators import async_only_middleware
from django_prometheus.middleware import Metrics

from proxy import conf, metrics
from proxy.client_address import client_address
from proxy.limits import seconds_to_wait, seconds_to_wait_in_fleet
from proxy.request_id import new_request_id
from proxy.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponseBase

    AsyncView = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]

# The method is a label: what a client makes up must not become one.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"}
)
_HEALTH_PATH = "/healthz"


@async_only_middleware
def observe(get_response: AsyncView) -> AsyncView:
    """Give the request an id and a client, refuse it over the limit, and count it.

    Counts what django-prometheus' two middlewares count of any Django project, without their
    thread hops.
    """
    counted = Metrics.get_instance()

    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        started = time.perf_counter()
        config = conf.config()
        scope = cast("dict[str, Any]", request.scope)
        header_name = config.client_ip_header.encode("ascii")
        peer = scope.get("client")
        client = client_address(
            peer[0] if peer else None,
            (value for name, value in scope["headers"] if name == header_name),
            config.trusted_proxies,
        )
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
        counted.requests_total.inc()
        counted.responses_total.inc()
        counted.requests_by_method.labels(method).inc()
        counted.requests_by_transport.labels(request.scheme).inc()
        counted.requests_by_view_transport_method.labels(view, request.scheme, method).inc()
        counted.responses_by_status.labels(str(response.status_code)).inc()
        counted.responses_by_status_view_method.labels(
            str(response.status_code), view, method
        ).inc()
        if response.streaming:
            counted.responses_streaming.inc()
        elapsed = time.perf_counter() - started
        counted.requests_latency_before.observe(elapsed)
        counted.requests_latency_by_view_method.labels(view, method).observe(elapsed)
        return response

    return middleware


def _asks_for_health(path: str, admin_prefix: str) -> bool:
    return path in (_HEALTH_PATH, admin_prefix + _HEALTH_PATH)
