"""Django's manners, which the lean handler keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse, HttpResponseBase
from django.test import override_settings
from django.urls import re_path
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin
from prometheus_client import REGISTRY

from proxy.server.handler import LeanHandler, LeanRequest
from proxy.views import serve_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest

    View = Callable[[ASGIRequest], Awaitable[HttpResponseBase]]

SEEN: list[ASGIRequest] = []


class Unreadable(bytes):
    """A path that makes the view of objects fail, and nothing else."""

    def __getitem__(self, at: Any) -> Any:
        raise TypeError


def scope(path: str = "/healthz", method: str = "GET", **others: Any) -> dict[str, Any]:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"a=1&a=2", "headers": [(b"host", b"h"), (b"x-a", b"\xe9")],
        "client": ("127.0.0.1", 4), "server": ("127.0.0.1", 80), "scheme": "http", **others,
    }  # fmt: skip


async def nothing_else(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


async def answer(asked: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await LeanHandler(nothing_else)(asked, receive, send)
    start, *bodies = sent
    return start["status"], start["headers"], b"".join(body["body"] for body in bodies)


@async_only_middleware
def curious(get_response: View) -> View:
    """What a middleware may do with requests and responses."""

    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        SEEN.append(request)
        response = await get_response(request)
        assert isinstance(response, HttpResponse)
        assert response["Content-Type"].startswith("text/")
        response["X-Added"] = "yes"
        response.set_cookie("seen", "1")
        response.content += b" and more"
        del response["Content-Length"]
        return response

    return middleware


def old_fashioned(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """A middleware that is not asynchronous."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers["X-Old"] = str(response.status_code)
        return response

    return middleware


class WithHooks(MiddlewareMixin):
    """A middleware with a hook before the view."""

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse:
        found = request.resolver_match
        assert found is not None
        return HttpResponse(f"{found.view_name} {found.func is view} {args} {kwargs}")


class Forgiving(MiddlewareMixin):
    """A middleware with a hook for exceptions."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return HttpResponse(type(exception).__name__)


async def elsewhere(request: HttpRequest) -> HttpResponse:
    return HttpResponse("elsewhere")


class OtherRoutes:
    """A URLconf."""

    urlpatterns = (re_path("", elsewhere),)


@async_only_middleware
def with_other_routes(get_response: View) -> View:
    async def middleware(request: ASGIRequest) -> HttpResponseBase:
        request.urlconf = OtherRoutes  # type: ignore[assignment]
        return await get_response(request)

    return middleware


def middleware(*names: str) -> override_settings:
    ours = ["proxy.middleware.observe"]
    return override_settings(MIDDLEWARE=ours + [f"{__name__}.{name}" for name in names])


async def test_what_is_not_http_is_another_applications() -> None:
    given: list[Any] = []

    async def other(*asked: Any) -> None:
        given.append(asked)

    async def receive() -> None: ...

    async def send(message: object) -> None: ...

    lifespan = {"type": "lifespan"}
    await LeanHandler(other)(lifespan, receive, send)
    assert given == [(lifespan, receive, send)]


async def test_an_added_middleware_sees_and_changes_an_answer() -> None:
    SEEN.clear()
    with middleware("curious"):
        status, fields, body = await answer(scope())
    told = dict(fields)
    assert (status, body) == (200, b"ok and more")
    assert told[b"x-added"] == b"yes"
    assert told[b"set-cookie"] == b"seen=1; Path=/"
    assert told[b"content-length"] == b"11"
    assert told[b"x-request-id"]
    assert len(fields) == len(told)
    [request] = SEEN
    assert request.resolver_match is not None
    assert request.resolver_match.view_name == "healthz"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_added_middleware_may_be_synchronous(method: str) -> None:
    with middleware("old_fashioned"):
        _, fields, body = await answer(scope(method=method))
    assert dict(fields)[b"x-old"] == b"200"
    assert body == (b"ok" if method == "GET" else b"")


@pytest.mark.parametrize(("path", "view"), [("/healthz", b"healthz"), ("/a/key", b"object")])
async def test_a_hook_before_the_view_gets_what_the_path_resolves_to(
    path: str, view: bytes
) -> None:
    with middleware("WithHooks"):
        _, _, body = await answer(scope(path))
    assert body == view + b" True () {}"


async def test_a_hook_for_exceptions_gets_those_of_the_view_of_objects() -> None:
    with middleware("Forgiving"):
        status, _, body = await answer(scope("/key") | {"raw_path": Unreadable(b"/key")})
    assert (status, body) == (200, b"TypeError")


async def test_an_exception_of_the_view_of_objects_is_an_error() -> None:
    status, _, body = await answer(scope("/key") | {"raw_path": Unreadable(b"/key")})
    assert (status, body) == (500, b"500 Internal Server Error\n")


async def test_a_middleware_may_choose_other_routes() -> None:
    with middleware("with_other_routes"):
        status, _, body = await answer(scope("/key"))
    assert (status, body) == (200, b"elsewhere")


async def test_a_view_of_objects_that_is_found_is_told() -> None:
    SEEN.clear()
    with middleware("curious"):
        await answer(scope("/a//b", method="DELETE"))
    [request] = SEEN
    assert request.resolver_match is not None
    assert request.resolver_match.func is serve_object
    assert request.resolver_match.view_name == "object"


@pytest.mark.parametrize(("field", "transport"), [("https", "https"), ("http", "http")])
async def test_a_scheme_that_a_field_tells_is_counted(field: str, transport: str) -> None:
    def counted() -> float:
        name = "django_http_requests_total_by_transport_total"
        return REGISTRY.get_sample_value(name, {"transport": transport}) or 0.0

    asked = scope(headers=[(b"x-forwarded-proto", field.encode())], scheme="ftp")
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        await answer(asked)
        before = counted()
        await answer(asked)
        assert counted() == before + 1
    await answer(asked)
    assert counted() == before + 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_djangos(method: str) -> None:
    ours = LeanRequest(scope("/a b", method), None, prefixed=False)  # type: ignore[arg-type]
    djangos = ASGIRequest(scope("/a b", method), None)  # type: ignore[arg-type]
    for name in (
        "META", "GET", "headers", "path", "path_info", "script_name", "method", "scheme",
        "encoding", "content_type", "content_params", "COOKIES", "resolver_match",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(djangos, name), name
    assert ours.get_full_path() == djangos.get_full_path()
    assert ours.build_absolute_uri() == djangos.build_absolute_uri()
    assert vars(djangos).keys() <= {name for name in dir(ours) if not name.startswith("__")}


@pytest.mark.parametrize("others", [{"root_path": "/below"}, {"root_path": ""}])
async def test_a_path_below_a_prefix_is_told_from_it(others: dict[str, str]) -> None:
    SEEN.clear()
    with middleware("curious"):
        status, _, _ = await answer(scope(others["root_path"] + "/healthz", **others))
    assert status == 200
    assert SEEN[0].script_name == others["root_path"]
    assert SEEN[0].path_info == "/healthz"


async def test_a_forced_script_name_is_djangos() -> None:
    SEEN.clear()
    with middleware("curious"), override_settings(FORCE_SCRIPT_NAME="/forced"):
        status, _, _ = await answer(scope("/forced/healthz"))
    assert status == 200
    assert (SEEN[0].script_name, SEEN[0].path_info) == ("/forced", "/healthz")


def test_what_the_handler_overrides_is_there() -> None:
    # Moved or renamed by Django, these would be called no more, without a word.
    for name in (
        "resolve_request", "make_view_atomic", "load_middleware", "_middleware_chain",
        "_get_response_async", "_view_middleware", "_exception_middleware",
    ):  # fmt: skip
        assert hasattr(BaseHandler, name), name
    assert "_resource_closers" in vars(HttpResponse())
    assert {"_read_started", "_post_parse_error", "_stream"} <= vars(
        ASGIRequest(scope(), None)  # type: ignore[arg-type]
    ).keys()
