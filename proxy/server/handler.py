"""Django's ASGI handler without what a service that has no database need not pay for."""

from __future__ import annotations

import asyncio
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.utils.functional import cached_property

from proxy import metrics
from proxy.access_log import is_on as access_log_is_on
from proxy.access_log import log_request
from proxy.metrics import BYTES_SERVED
from proxy.responses import handling_of
from proxy.server.routes import Routes
from proxy.server.sending import Sending, close
from proxy.views import serve_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from django.http import HttpRequest, HttpResponseBase
    from django.urls import ResolverMatch

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    AsyncView = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]

_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class BodyTooLargeError(Exception):
    """The request's body is longer than the view takes."""


class ClientGoneError(Exception):
    """The client went away before its request was complete."""


class LeanRequest(ASGIRequest):
    """A request whose body stays on the wire until a view asks for it.

    So does META, which no object needs, where a GET or HEAD is not ``prefixed``: below a script
    prefix.
    """

    # As Django's __init__ leaves it where there is no prefix.
    script_name = ""
    resolver_match: ResolverMatch | None = None
    _post_parse_error = _read_started = False

    def __init__(self, scope: Scope, receive: Receive, *, prefixed: bool = True) -> None:
        self._receive = receive
        if prefixed or scope["method"] not in _WITHOUT_BODY:
            super().__init__(scope, BytesIO())
            return
        self.scope = scope
        self.method = scope["method"]
        self.path = self.path_info = scope["path"]

    @cached_property
    def _stream(self) -> BytesIO:  # type: ignore[override]
        return BytesIO()

    @cached_property
    def META(self) -> dict[str, Any]:  # type: ignore[override]  # noqa: N802 - Django's name
        """As Django's."""
        return self._parsed.META

    @cached_property
    def content_type(self) -> str | None:  # type: ignore[override]
        """As Django's."""
        return self._parsed.content_type

    @cached_property
    def content_params(self) -> dict[str, str] | None:  # type: ignore[override]
        """As Django's."""
        return self._parsed.content_params

    @cached_property
    def _parsed(self) -> ASGIRequest:
        return ASGIRequest(self.scope, BytesIO())

    async def read_body(self, limit: int, seconds: float) -> bytes:
        """The body, of at most ``limit`` bytes, within ``seconds``.

        Raises BodyTooLargeError, ClientGoneError, TimeoutError.
        """
        body = bytearray()
        async with asyncio.timeout(seconds):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                body += message.get("body", b"")
                if len(body) > limit:
                    raise BodyTooLargeError
                if not message.get("more_body", False):
                    return bytes(body)


class LeanHandler(ASGIHandler):
    """Runs the middleware chain in the server's own task.

    The stock handler opens two tasks and two thread hops a request, for signals and database
    connections that nothing here has.
    """

    # Set by load_middleware().
    _middleware_chain: AsyncView
    _view_middleware: list[Callable[..., Any]]
    _exception_middleware: list[Callable[..., Any]]

    def __init__(self, beside_http: Application) -> None:
        """What is not a request over HTTP is given to another application."""
        super().__init__()
        self._beside_http = beside_http
        self._match = Routes().match
        self._has_script_name = bool(settings.FORCE_SCRIPT_NAME)

    def resolve_request(  # type: ignore[override]
        self, request: HttpRequest
    ) -> ResolverMatch | tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]:
        """Find the view by the path, which says the same each time."""
        if hasattr(request, "urlconf"):
            found: ResolverMatch = super().resolve_request(request)
            return found
        request.resolver_match = match = self._match(request.path_info)
        # Unpacked by Django, which takes a ResolverMatch four calls.
        return match.func, match.args, match.kwargs

    async def _get_response_async(self, request: ASGIRequest) -> HttpResponseBase:
        """As Django's, which asks of what kind each view is, and what it has returned."""
        if not (self._view_middleware or self._exception_middleware or hasattr(request, "urlconf")):
            match = self._match(request.path_info)
            if match.func is serve_object:
                # A coroutine function, and what it returns needs no rendering.
                request.resolver_match = match
                return await serve_object(request)
        response: HttpResponseBase = await super()._get_response_async(request)  # type: ignore[misc]
        return response

    def make_view_atomic(self, view: Any) -> Any:
        """The view: there is no database to have transactions."""
        return view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            await self._beside_http(scope, receive, send)
            return
        started = time.perf_counter()
        prefixed = self._has_script_name or bool(scope.get("root_path"))
        request = LeanRequest(scope, receive, prefixed=prefixed)
        response: Any = await self._middleware_chain(request)
        sending = Sending(scope, receive, send)
        complete = False
        try:
            if response.streaming:
                complete = await sending.stream(response)
            else:
                await sending.whole(request, response)
                complete = True
        finally:
            close(response)
            metrics.tally.row[BYTES_SERVED] += sending.sent_bytes
            if access_log_is_on():
                log_request(
                    method=scope["method"],
                    path=scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
                    status=response.status_code,
                    sent_bytes=sending.sent_bytes,
                    seconds=time.perf_counter() - started,
                    client=scope.get("s3proxy.client", "-"),
                    handling=handling_of(response),
                    request_id=scope.get("s3proxy.request_id"),
                    complete=complete,
                )
