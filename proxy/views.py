"""The door for objects: every path that is not an admin route."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase

from proxy import conf
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Request
from proxy.responses import error_response, response_of
from proxy.service import gateway

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest

_ALLOW = b"GET, HEAD, OPTIONS"


async def serve_object(request: ASGIRequest) -> HttpResponseBase:
    """Send the object that the path names."""
    if request.method not in ("GET", "HEAD"):
        if request.method == "OPTIONS":
            response = HttpResponse(status=204, headers={"Allow": _ALLOW.decode("ascii")})
            # Django's type for a body that there is not.
            del response.headers["Content-Type"]
            return response
        return error_response(request, 405, ((b"allow", _ALLOW),))
    # Django's own path is decoded too far to tell %2F from /, or bad UTF-8 from U+FFFD.
    raw_path = request.scope.get("raw_path") or quote(request.scope["path"]).encode("ascii")
    try:
        key = object_key(raw_path, conf.config().s3_prefix)
    except InvalidTarget as exc:
        return error_response(request, exc.status)
    asked = Request.from_fields(request.method, key, request.scope["headers"])
    return response_of(await gateway().answer(asked))


def bad_request(request: ASGIRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001
    """Django's handler400."""
    return error_response(request, 400)


def not_found(request: ASGIRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001
    """Django's handler404."""
    return error_response(request, 404)


def server_error(request: ASGIRequest) -> HttpResponseBase:
    """Django's handler500; the traceback is in the log only."""
    return error_response(request, 500)
