"""The ASGI application under servers and protocols that are not ours."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, cut_after, respond
from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b"0123456789abcdef" * 65536
KINDS = {
    "httptools": "--http httptools",
    "h11 on asyncio": "--http h11 --loop asyncio",
    "without lifespan": "--lifespan off",
    "our protocol": "--http proxy.server.protocol:HttpProtocol --ws none",
}


@pytest.fixture(scope="module")
def hello() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello", {"ETag": '"e"'}))
        origin.on("large", respond(200, BODY))
        origin.on("broken", cut_after(100_000, respond(200, BODY)))
        yield origin


@pytest.fixture(scope="module", params=KINDS.values(), ids=list(KINDS))
def plain(hello: ScriptedOrigin, request: pytest.FixtureRequest) -> Iterator[Served]:
    """`uvicorn s3proxy_site.asgi:application` with nothing else of ours."""
    run = f"uvicorn s3proxy_site.asgi:application {request.param}"
    script = f"exec {sys.executable} -m {run} --no-access-log --port ${{SERVER_ADDR##*:}}"
    with Served(hello.environ(), command=("sh", "-c", script)) as served:
        yield served


def test_objects_are_served(plain: Served) -> None:
    for cache in ("MISS", "HIT"):
        answer = plain.get("/a")
        assert (answer.status_code, answer.content) == (200, b"hello")
        assert answer.headers["X-Cache"] == cache
    assert plain.get("/a", headers={"If-None-Match": '"e"'}).status_code == 304
    assert plain.get("/a", headers={"Range": "bytes=1-2"}).content == b"el"
    assert plain.get("/large").content == BODY
    assert plain.request("HEAD", "/large").headers["Content-Length"] == str(len(BODY))


def test_keys_are_as_strict(plain: Served, hello: ScriptedOrigin) -> None:
    before = hello.count()
    with RawConnection("127.0.0.1", plain.port) as client:
        for target in ("/%2e%2e/x", "/a%00", "/%ff", "/../x"):
            client.get(target)
            assert client.read_response().status == 400
    assert hello.count() == before


def test_a_body_that_breaks_off_never_looks_complete(plain: Served) -> None:
    with RawConnection("127.0.0.1", plain.port) as client:
        client.get("/broken")
        answer = client.read_response()
        assert len(answer.body) < len(BODY)
        assert not answer.complete


def test_access_lines_are_written(plain: Served) -> None:
    request_id = plain.get("/logged").headers["X-Request-ID"]
    record = plain.wait_for_log(lambda record: record.get("request_id") == request_id)
    assert record["path"] == "/logged"


def warns_of_several(served: Served) -> bool:
    return '"variable": "WEB_CONCURRENCY"' in served.output


def test_several_processes_of_another_server_are_warned_of(hello: ScriptedOrigin) -> None:
    # One of its own, so that the test has one process to end; the application cannot know.
    run = "uvicorn s3proxy_site.asgi:application --no-access-log --workers 1"
    script = f"exec {sys.executable} -m {run} --port ${{SERVER_ADDR##*:}}"
    environ = hello.environ() | {"WEB_CONCURRENCY": "2"}
    with Served(environ, command=("sh", "-c", script)) as served:
        record = served.wait_for_log(lambda record: record.get("variable") == "WEB_CONCURRENCY")
        assert record["level"] == "WARNING"
        assert "purges of its own" in record["message"]


def test_one_process_is_not_warned_of(plain: Served, hello: ScriptedOrigin) -> None:
    assert not warns_of_several(plain)
    with Served(hello.environ() | {"WEB_CONCURRENCY": "2"}) as served:
        served.get("/a")
        assert not warns_of_several(served)


def test_it_stops(plain: Served) -> None:
    # The last of the module for each server.
    assert plain.terminate() in {0, -15}
    assert "Unclosed" not in plain.output
