"""The backend under Django's own users of caches."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import cache as default_cache
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_page

from proxy.cache.backend import MemoryCache

if TYPE_CHECKING:
    from django.test import RequestFactory
    from pytest_django import Settings

BACKEND = "proxy.cache.backend.MemoryCache"


@pytest.fixture(autouse=True)
def _configured(settings: Settings) -> None:
    settings.CACHES = {
        "default": {"BACKEND": BACKEND, "LOCATION": "in-django", "OPTIONS": {"MAX_ENTRIES": 100}},
        "prefixed": {
            "BACKEND": BACKEND,
            "LOCATION": "in-django",
            "KEY_PREFIX": "p",
            "VERSION": 3,
            "TIMEOUT": None,
            "OPTIONS": {"MAX_ENTRIES": 100},
        },
    }


def test_caches_makes_the_backend_with_its_settings() -> None:
    default, prefixed = cast("MemoryCache", caches["default"]), caches["prefixed"]
    assert type(default) is MemoryCache
    default.set("k", 1)
    assert prefixed.get("k") is None
    prefixed.set("k", 2)
    assert (default.get("k"), prefixed.get("k"), default.entries) == (1, 2, 2)
    assert default_cache.get("k") == 1


def test_every_thread_and_task_sees_the_same_values() -> None:
    caches["default"].set("k", 1)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(caches["default"].get("k")))
    thread.start()
    thread.join(5)

    async def task() -> None:
        seen.append(await caches["default"].aget("k"))

    asyncio.run(task())
    assert seen == [1, 1]


def test_cache_page_serves_the_second_request_from_memory(rf: RequestFactory) -> None:
    calls: list[str] = []

    @cache_page(60, cache="default")
    def view(request: HttpRequest) -> HttpResponse:
        calls.append(request.path)
        return HttpResponse(b"body", headers={"X-Extra": "1"})

    first, second = view(rf.get("/a b")), view(rf.get("/a b"))
    assert calls == ["/a b"]
    assert (second.content, second.headers["X-Extra"]) == (first.content, "1")
    view(rf.get("/other"))
    assert calls == ["/a b", "/other"]


def test_sessions_keep_their_data() -> None:
    session = SessionStore()
    session["user"] = {"name": "x"}
    session.save()
    assert SessionStore(session.session_key)["user"] == {"name": "x"}
    session.delete()
    assert "user" not in SessionStore(session.session_key)
