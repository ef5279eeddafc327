"""Prometheus' view of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from admin_api.auth import token_required
from admin_api.endpoint import allow

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest


@allow("GET", "HEAD")
@token_required
async def metrics(request: ASGIRequest) -> HttpResponse:
    """Django-prometheus' metrics with the proxy's own; OpenMetrics where Accept asks for it."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type, headers={"Vary": "Accept"})
