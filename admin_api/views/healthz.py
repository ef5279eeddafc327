"""Whether the process is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse

from admin_api.endpoint import allow

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest


@allow("GET", "HEAD")
async def healthz(request: ASGIRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Public; says that requests are answered, nothing of S3."""
    return HttpResponse("ok", content_type="text/plain; charset=utf-8")
