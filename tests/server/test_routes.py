"""Routes agree with Django's resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.http import HttpResponse
from django.urls import URLResolver, include, path, re_path
from django.urls.exceptions import Resolver404
from django.urls.resolvers import RegexPattern
from hypothesis import given
from hypothesis import strategies as st

from admin_api.urls import routes
from proxy.server.routes import Routes

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import URLPattern


def anything(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def resolver_of(*patterns: URLPattern | URLResolver) -> URLResolver:
    return URLResolver(RegexPattern(r"^/"), list(patterns))


LAST = path("", include([re_path(r"\A", anything, name="object")]))
OURS = [resolver_of(path("", include(routes(prefix))), LAST) for prefix in ("", "/-", "/a/b")]
OTHERS = [
    # A last route that leaves something, one below a prefix, one that is not anchored.
    resolver_of(path("healthz", anything, name="healthz")),
    resolver_of(path("cache/", include([path("stats", anything, name="stats")])), LAST),
    resolver_of(re_path(r"stats", anything, name="stats"), LAST),
    resolver_of(
        path("<int:number>", anything), path("x<int:number>", anything, name="number"), LAST
    ),
]
PIECES = st.sampled_from(
    ["/", "healthz", "readyz", "metrics", "cache", "purge", "stats", "-", "a", "b", "7", "x", "\n"]
)
PATHS = st.one_of(
    st.lists(PIECES, max_size=6).map(lambda pieces: "/" + "".join(pieces)),
    st.text(max_size=5),
)


def seen(resolve: object, where: str) -> tuple[str | None, object, object] | None:
    try:
        match = resolve(where)  # type: ignore[operator]
    except Resolver404:
        return None
    return match.url_name, match.func, match.kwargs


@pytest.mark.parametrize("resolver", OURS + OTHERS, ids=str)
def test_a_path_has_the_view_that_django_finds(resolver: URLResolver) -> None:
    found = Routes(resolver)

    @given(PATHS)
    def agree(where: str) -> None:
        assert seen(found.match, where) == seen(resolver.resolve, where)

    agree()


@pytest.mark.parametrize("resolver", OURS, ids=str)
def test_our_own_routes_are_one_expression(resolver: URLResolver) -> None:
    found = Routes(resolver)
    assert found.match("/an/object") is found.match("/another")


def test_a_long_path_is_not_remembered() -> None:
    found = Routes(OURS[0])
    where = "/cache/" + "x" * 2000
    assert found.match(where) is not found.match(where)
    assert found.match(where).url_name == "cache-unknown"
