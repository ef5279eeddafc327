"""`/readyz`: whether this worker can serve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.test import AsyncRequestFactory

from admin_api.views.readyz import readyz
from proxy.service import close_gateway
from tests.environment import AUTH_TOKEN

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from tests.served.process import Served


def test_it_names_its_checks(server: Served) -> None:
    response = server.admin("GET", "/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "checks": {"configuration": "ok", "gateway": "ok"}}


async def test_it_says_what_is_wrong(settings: Settings) -> None:
    settings.STORAGES = {"default": {"BACKEND": "no.such.Storage"}}
    request = AsyncRequestFactory().get("/readyz", headers={"X-Auth-Token": AUTH_TOKEN})
    try:
        response = await readyz(request)
    finally:
        await close_gateway()
    assert isinstance(response, HttpResponse)
    answer = json.loads(response.content)
    assert response.status_code == 503
    assert answer["ready"] is False
    assert answer["checks"]["configuration"] == "ok"
    assert "no.such" in answer["checks"]["gateway"]
