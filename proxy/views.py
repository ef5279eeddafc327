"""The door for objects: every path that is not an admin route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase

from proxy import conf
from proxy.answer import Answer
from proxy.core.cache_key import InvalidTarget, object_key
from proxy.core.messages import Request
from proxy.responses import error_response, response_of
from proxy.service import gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.handlers.asgi import ASGIRequest

    from proxy.store import Sighting

_ALLOW = b"GET, HEAD, OPTIONS"
# The ASGI extension by which the server offers to tell at once that a client has gone:
# {"notify": callable}, to be given what is to be called then, or None.
DEPARTURE_EXTENSION = "s3proxy.departure"
# nginx's, for a client that closed its request: nobody gets it, but the access log shows it.
_CLIENT_GONE = 499


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
    found = gateway().at_hand(asked)
    if isinstance(found, Answer):
        return response_of(found)
    offered = request.scope.get("extensions", {}).get(DEPARTURE_EXTENSION)
    if offered is None:
        return response_of(await gateway().answer(asked, found))
    answer = await _unless_client_leaves(offered["notify"], asked, found)
    return HttpResponse(status=_CLIENT_GONE) if answer is None else response_of(answer)


async def _unless_client_leaves(
    notify: Callable[[Callable[[], None] | None], None], asked: Request, found: Sighting
) -> Answer | None:
    """The gateway's answer; None where the client has gone before there was one.

    Else who waits in line for the origin would keep its place there for nobody.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    notify(leave)
    try:
        return await gateway().answer(asked, found)
    except asyncio.CancelledError:
        # Somebody else may want the task to end as well.
        if gone and task.uncancel() == 0:
            return None
        raise
    finally:
        notify(None)


def bad_request(request: ASGIRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001
    """Django's handler400."""
    return error_response(request, 400)


def not_found(request: ASGIRequest, exception: Exception) -> HttpResponseBase:  # noqa: ARG001
    """Django's handler404."""
    return error_response(request, 404)


def server_error(request: ASGIRequest) -> HttpResponseBase:
    """Django's handler500; the traceback is in the log only."""
    return error_response(request, 500)
