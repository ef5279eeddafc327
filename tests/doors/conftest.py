"""Every door, in front of one origin."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from django.core.cache import caches
from django.test import override_settings

from proxy.service import close_gateway
from s3proxy_site import env
from s3proxy_site.settings import storage_options
from tests.doors.cases import DEFAULT_OBJECT
from tests.doors.door import Door, door_over
from tests.environment import BASELINE
from tests.origins import ScriptedOrigin, s3_error
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DOORS = ("asgi", "served")


@pytest.fixture(scope="package")
def world() -> Iterator[ScriptedOrigin]:
    """Has the same object under every key but `missing`."""
    with ScriptedOrigin() as origin:
        origin.default(DEFAULT_OBJECT)
        origin.on("missing", s3_error(404, "NoSuchKey"))
        yield origin


@pytest.fixture(scope="package")
def served(world: ScriptedOrigin) -> Iterator[Served]:
    with Served(world.environ()) as running:
        yield running


@pytest.fixture(scope="package")
def configured(world: ScriptedOrigin) -> Iterator[None]:
    """This process configured as the served one is."""
    config, problems = env.parse(dict(BASELINE) | world.environ())
    assert config is not None, problems
    storage = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": storage_options(config)}
    with override_settings(S3PROXY=config, STORAGES={"default": storage}):
        caches["default"].clear()
        yield
        caches["default"].clear()


@pytest.fixture
async def doors(served: Served, configured: None) -> AsyncIterator[dict[str, Door]]:
    """All of them."""
    from s3proxy_site.asgi import application

    async with AsyncExitStack() as opened:
        in_process = httpx.ASGITransport(application)  # type: ignore[arg-type]
        yield {
            "asgi": await opened.enter_async_context(door_over("http://test", in_process)),
            "served": await opened.enter_async_context(door_over(served.url)),
        }
        await close_gateway()


@pytest.fixture(params=DOORS)
def door(doors: dict[str, Door], request: pytest.FixtureRequest) -> Door:
    """Each of them in turn."""
    return doors[request.param]
