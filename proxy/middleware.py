"""What every request goes through, whichever view it has: identity, limit, measurement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.utils.decorators import async_only_middleware

from proxy import conf, metrics
from proxy.clients import Clients
from proxy.limits import seconds_to_wait, seconds_to_wait_in_fleet
from proxy.request_counts import RequestCounts
from proxy.request_id import next_id
from proxy.responses import add_field, error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponseBase

    from s3proxy_site.env import Config

    AsyncView = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]

_HEALTH_PATH = "/healthz"


@async_only_middleware
def observe(get_response: AsyncView) -> AsyncView:
    """Give the request an id and a client, refuse it over the limit, and count it.

    Counts what django-prometheus' two middlewares count of any Django project, without their
    thread hops.
    """
    counts = RequestCounts()
    clients: Clients | None = None
    clients_config: Config | None = None
    is_limited = False

    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        nonlocal clients, clients_config, is_limited
        started = time.perf_counter()
        config = conf.config()
        if clients is None or config is not clients_config:
            clients, clients_config = Clients(config), config
            is_limited = bool(config.rate_limit_rps)
        scope: Any = request.scope
        peer = scope.get("client")
        lines = clients.lines(scope["headers"])
        client = clients.client(peer[0] if peer else None, lines).address
        scope["s3proxy.client"] = client
        request_id = next_id()
        scope["s3proxy.request_id"] = request_id.decode("ascii")

        wait = None
        if is_limited and not _asks_for_health(scope["path"], config.admin_prefix):
            if config.redis_url is None:
                wait = seconds_to_wait(request, client, config.rate_limit_rps)
            else:
                wait = await seconds_to_wait_in_fleet(request, client, config.rate_limit_rps)
        if wait is None:
            response = await get_response(request)
        else:
            metrics.rate_limited.inc()
            response = error_response(request, 429, ((b"retry-after", b"%d" % wait),))
        add_field(response, b"x-request-id", request_id)

        match = request.resolver_match
        counts.count(
            match.view_name if match else None,
            request.scheme if conf.tells_scheme_by_field() else scope.get("scheme") or "http",
            request.method,
            response.status_code,
            streaming=response.streaming,
            seconds=time.perf_counter() - started,
        )
        return response

    return middleware


def _asks_for_health(path: str, admin_prefix: str) -> bool:
    return path in (_HEALTH_PATH, admin_prefix + _HEALTH_PATH)
