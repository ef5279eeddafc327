"""The proxy's settings with a middleware of somebody else's, for processes that tests start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.decorators import async_only_middleware

from s3proxy_site import settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase

    View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

HEADER = "X-Seen-By"
MODULE = __name__

globals().update({name: value for name, value in vars(settings).items() if name.isupper()})

MIDDLEWARE = [*settings.MIDDLEWARE, f"{MODULE}.see"]


@async_only_middleware
def see(get_response: View) -> View:
    """Mark every response whose request asks for it."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        if HEADER in request.headers:
            response.headers[HEADER] = request.headers[HEADER]
        return response

    return middleware
