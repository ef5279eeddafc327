"""What replicas share, as configured, told of in `/readyz`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from django.test import AsyncRequestFactory

from admin_api.views.readyz import readyz
from proxy import conf
from proxy.fleet import service
from proxy.service import close_gateway
from tests.environment import AUTH_TOKEN
from tests.fleet.replica import until
from tests.origins import ScriptedOrigin, respond
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.origins.valkey_site import ValkeySite


@pytest.fixture(autouse=True)
def _fresh_guard() -> Iterator[None]:
    service.guard.cache_clear()
    yield
    service.guard.cache_clear()


@asynccontextmanager
async def opened(settings: object, url: str) -> AsyncIterator[service.Fleet]:
    from dataclasses import replace

    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {"BACKEND": "proxy.cache.backend.MemoryCache", "LOCATION": "of-a-replica"},
        "shared": {"BACKEND": "proxy.fleet.cache.RedisCache", "LOCATION": url},
    }
    config = replace(conf.config(), redis_url=url)
    fleet = service.open_fleet(config, apply=lambda _purge, _at: None, mistrust=lambda: None)
    assert fleet is not None
    try:
        yield fleet
    finally:
        await service.close_fleet()
        await close_gateway()


async def told() -> tuple[int, str]:
    import json

    request = AsyncRequestFactory().get("/readyz", headers={"X-Auth-Token": AUTH_TOKEN})
    response = await readyz(request)
    return response.status_code, json.loads(response.content)["checks"]["redis"]  # type: ignore[attr-defined]


async def test_without_redis_url_nothing_is_shared() -> None:
    config = conf.config()
    assert service.open_fleet(config, apply=lambda *_: None, mistrust=lambda: None) is None
    assert service.running() is None


async def test_a_replica_is_unready_until_it_has_caught_up(
    valkey: ValkeySite, settings: object
) -> None:
    async with opened(settings, valkey.url) as fleet:
        assert await told() == (503, "catching up with the purges of other replicas")
        await asyncio.wait_for(fleet.stream.caught_up.wait(), 5)
        assert await told() == (200, "ok")


async def test_a_redis_that_goes_away_leaves_it_ready_and_is_told_of(
    own_valkey: ValkeySite, settings: object
) -> None:
    async with opened(settings, own_valkey.url) as fleet:
        await until(lambda: fleet.stream.following)
        own_valkey.kill()
        await until(lambda: not fleet.stream.following)
        status, text = await told()
        assert status == 200
        assert text.startswith("unreachable since 20")
        own_valkey.start()
        await until(lambda: fleet.stream.following)
        assert await told() == (200, "ok")


async def test_without_redis_at_the_start_it_is_ready_after_a_while(
    own_valkey: ValkeySite, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_valkey.kill()
    monkeypatch.setattr(service, "START_SECONDS", 0.3)
    async with opened(settings, own_valkey.url) as fleet:
        await until(lambda: service.guard().breaker.failing_since is not None)
        status, text = await told()
        assert status == 503
        assert text.startswith("unreachable since 20")
        assert text.endswith(", waiting up to 0.3 s for it")
        await until(lambda: fleet.ready)
        status, text = await told()
        assert status == 200
        assert text.startswith("unreachable since 20")


async def test_a_redis_that_stays_away_is_logged_once_until_it_is_back(
    own_valkey: ValkeySite, settings: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "s3proxy.fleet")

    def lines() -> list[str]:
        return [r.message for r in caplog.records if getattr(r, "calls", None) == "all"]

    async with opened(settings, own_valkey.url) as fleet:
        await until(lambda: fleet.stream.following)
        for _ in range(2):
            own_valkey.kill()
            # It has opened, closed for a probe, and opened again.
            rest = service.guard().breaker.failing_since
            await until(lambda rest=rest: service.guard().breaker.failing_since != rest)  # type: ignore[misc]
            await until(lambda: not fleet.stream.following)
            own_valkey.start()
            await until(lambda: fleet.stream.following)
        assert [line.partition(":")[0] for line in lines()] == [
            "redis cannot be used",
            "redis is used again",
        ]


def test_a_failure_names_the_variable_and_the_place(own_valkey: ValkeySite) -> None:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello"))
        url = f"redis://somebody:hunter2hunter2@127.0.0.1:{own_valkey.port}/0"
        with Served(origin.environ() | {"REDIS_URL": url}) as served:
            line = served.wait_for_log(lambda record: record.get("variable") == "REDIS_URL")
            assert line["redis"] == f"127.0.0.1:{own_valkey.port}"
            assert line["message"] == "redis cannot be used: wrong user or password"
            assert "hunter2" not in served.output


def test_the_rate_limit_holds_over_two_replicas_and_without_redis(own_valkey: ValkeySite) -> None:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello"))
        environ = origin.environ() | {"RATE_LIMIT_RPS": "0.01", "REDIS_URL": own_valkey.url}
        environ |= {"TRUSTED_PROXIES": "127.0.0.0/8"}
        with Served(environ) as one, Served(environ) as other:

            def statuses(client: str) -> list[int]:
                headers = {"X-Forwarded-For": client}
                return [each.get("/a", headers=headers).status_code for each in (one, other)]

            assert statuses("192.0.2.1") == [200, 429]
            own_valkey.kill()
            assert statuses("192.0.2.2") == [200, 200]
            assert statuses("192.0.2.2") == [429, 429]
            with httpx.Client(trust_env=False) as client:
                assert client.get(f"{one.url}/healthz").status_code == 200
