"""A name service that fails, comes back, or tells another address."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.subject import Proxy
from tests.origins import ScriptedOrigin, respond

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "s3.test"


class NameService:
    """Stands where the resolver of the operating system does; other names go there."""

    def __init__(self, answer: Callable[[], str]) -> None:
        self.answer = answer
        self.asked = 0
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != NAME:
            return self._real(host, *args, **kwargs)
        self.asked += 1
        return self._real(self.answer(), *args, **kwargs)


def fails() -> str:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def local() -> str:
    return "127.0.0.1"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> NameService:
    service = NameService(local)
    monkeypatch.setattr(socket, "getaddrinfo", service)
    return service


async def test_a_name_that_does_not_resolve_for_a_while(
    origin: ScriptedOrigin, names: NameService, caplog: pytest.LogCaptureFixture
) -> None:
    origin.default(respond(body=b"x"))
    names.answer = fails
    async with Proxy(f"http://{NAME}:{origin.port}", retries=1) as proxy:
        reply = await proxy.get("a")
        assert (reply.status, reply.cache_status[-1]) == (502, "detail=connect")
        assert names.asked == 2
        assert proxy.store.entries == 0
        (record,) = [record for record in caplog.records if record.name == "s3proxy.origin"]
        assert "the name does not resolve" in record.getMessage()
        assert vars(record)["variable"] == "S3_ENDPOINT"
        names.answer = local
        assert (await proxy.get("a")).status == 200


async def test_a_name_service_that_says_nothing_is_waited_for_until_request_timeout(
    origin: ScriptedOrigin, names: NameService
) -> None:
    origin.default(respond(body=b"x"))

    def hangs() -> str:
        time.sleep(1.0)
        return "127.0.0.1"

    names.answer = hangs
    async with Proxy(f"http://{NAME}:{origin.port}", timeout=0.3) as proxy:
        began = time.monotonic()
        assert (await proxy.get("a")).status == 504
        assert time.monotonic() - began < 0.9
        names.answer = local
        await proxy.until(lambda: names.asked >= 1)
        # What is asked while the old question is still open shares its fate.
        while (await proxy.get("a")).status != 200:
            assert time.monotonic() - began < 5


async def test_an_origin_that_moved_is_found_at_the_next_request(
    origin: ScriptedOrigin, names: NameService
) -> None:
    origin.default(respond(body=b"x", headers={"Cache-Control": "no-store"}))
    async with Proxy(f"http://{NAME}:{origin.port}", retries=0) as proxy:
        assert (await proxy.get("a")).status == 200
        # An address where nobody listens, remembered like any other.
        origin.go_down()
        assert (await proxy.get("a")).status == 502
        origin.come_back()
        asked = names.asked
        assert (await proxy.get("a")).status == 200
        assert names.asked == asked + 1
