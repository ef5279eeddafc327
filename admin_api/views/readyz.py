"""Whether this worker can serve objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from admin_api.auth import token_required
from admin_api.endpoint import allow, json_response
from proxy import conf
from proxy.fleet import service as fleet
from proxy.service import gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponse

_CHECKS: dict[str, Callable[[], object]] = {"configuration": conf.config, "gateway": gateway}


@allow("GET", "HEAD")
@token_required
async def readyz(request: ASGIRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """200, or 503 with what is wrong: ``{"ready": bool, "checks": {name: "ok" or why not}}``.

    Asks nothing of S3: an origin that fails is no reason to take the stored objects away too.
    Nor is a Redis that fails, once the purges of other replicas are known; ``redis`` tells of it.
    """
    checks = {name: _outcome(check) for name, check in _CHECKS.items()}
    ready = all(outcome == "ok" for outcome in checks.values())
    shared = fleet.running()
    if shared is not None:
        checks["redis"] = shared.status
        ready = ready and shared.ready
    return json_response({"ready": ready, "checks": checks}, 200 if ready else 503)


def _outcome(check: Callable[[], object]) -> str:
    try:
        check()
    except ImproperlyConfigured as exc:
        return str(exc)
    return "ok"
