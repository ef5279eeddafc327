"""What every admin endpoint does alike: methods, JSON answers, headers that keep them private."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, HttpResponseBase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from django.core.handlers.asgi import ASGIRequest

    View = Callable[[ASGIRequest], Coroutine[Any, Any, HttpResponseBase]]


# Objects may be pages of the same origin, with scripts of people who are not the operator's.
_PRIVATE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # The address has the token in it where it was given as ?token=, and the next page's scripts
    # could read it from document.referrer or the history of the tab.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def refusal(status: int, message: str) -> HttpResponse:
    """An error of the admin interface: ``{"error": message}``."""
    return json_response({"error": message}, status)


def json_response(content: dict[str, Any], status: int = 200) -> HttpResponse:
    """JSON that ends its line, as people read it in a terminal."""
    return HttpResponse(json.dumps(content) + "\n", "application/json", status)


def private(view: View) -> View:
    """Let no cache on the way store a response, no browser make more of it than data."""

    @functools.wraps(view)
    async def answer(request: ASGIRequest) -> HttpResponseBase:
        response = await view(request)
        for name, value in _PRIVATE.items():
            response.headers[name] = value
        return response

    return answer


def allow(*methods: str) -> Callable[[View], View]:
    """Answer other methods with 405, OPTIONS with 204, whoever asks."""
    listed = ", ".join((*methods, "OPTIONS"))

    def decorate(view: View) -> View:
        @private
        @functools.wraps(view)
        async def answer(request: ASGIRequest) -> HttpResponseBase:
            if request.method in methods:
                return await view(request)
            response: HttpResponseBase
            if request.method == "OPTIONS":
                response = HttpResponse(status=204)
                del response.headers["Content-Type"]
            else:
                response = refusal(405, f"allowed here: {listed}")
            response.headers["Allow"] = listed
            return response

        return answer

    return decorate
