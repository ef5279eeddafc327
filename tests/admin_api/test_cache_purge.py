"""`/cache/purge`: what is gone afterwards, what is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient

from proxy.service import close_gateway
from tests.environment import AUTH_TOKEN

if TYPE_CHECKING:
    from tests.origins.site import S3Site
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve, Served


def store(server: Served, site: S3Site, *keys: str) -> None:
    for key in keys:
        site.client.put_object(Bucket=site.bucket, Key=key, Body=key.encode())
        assert server.get(f"/{key}").headers["X-Cache"] == "MISS"


def cache_status(server: Served, key: str) -> str:
    return server.get(f"/{key}").headers["X-Cache"]


def purge(server: Served, **asked: Any) -> dict[str, Any]:
    response = server.admin("POST", "/cache/purge", json=asked)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def test_keys_are_purged_and_others_stay(server: Served, site: S3Site) -> None:
    store(server, site, "p/one", "p/two", "p/three")
    assert purge(server, keys=["p/one", "/p/t%77o"]) == {
        "purged": 2,
        "soft": False,
        "keys": 2,
        "prefixes": 0,
        "all": False,
        "not_found": [],
    }
    assert cache_status(server, "p/three") == "HIT"
    assert cache_status(server, "p/one") == "MISS"
    assert cache_status(server, "p/two") == "MISS"


def test_the_next_answer_is_the_new_object(server: Served, site: S3Site) -> None:
    store(server, site, "changing")
    site.client.put_object(Bucket=site.bucket, Key="changing", Body=b"new")
    assert server.get("/changing").text == "changing"
    purge(server, keys=["changing"])
    assert server.get("/changing").text == "new"


def test_keys_that_were_not_stored_are_named(server: Served, site: S3Site) -> None:
    store(server, site, "r")
    answer = purge(server, keys=["r/", "/r", "other", "/o%74her"])
    assert answer["purged"] == 1
    assert answer["not_found"] == ["r/", "other"]


def test_prefixes_are_purged(server: Served, site: S3Site) -> None:
    store(server, site, "img/a", "img/b", "imgs", "x")
    answer = purge(server, prefixes=["/img/"], keys=["x"])
    assert (answer["purged"], answer["keys"], answer["prefixes"]) == (3, 1, 1)
    assert cache_status(server, "imgs") == "HIT"
    assert cache_status(server, "img/a") == "MISS"


def test_everything_is_purged(server: Served, site: S3Site) -> None:
    store(server, site, "all/a", "all/b")
    answer = purge(server, all=True)
    assert (answer["purged"], answer["all"]) == (2, True)
    assert cache_status(server, "all/a") == "MISS"


def test_a_soft_purge_leaves_what_can_be_validated(server: Served, site: S3Site) -> None:
    store(server, site, "soft/a")
    answer = purge(server, keys=["soft/a"], soft=True)
    assert (answer["purged"], answer["soft"]) == (1, True)
    assert cache_status(server, "soft/a") in {"STALE", "REVALIDATED"}


def test_url_paths_are_under_the_prefix_of_the_bucket(serve: Serve, moto_site: S3Site) -> None:
    server = serve(moto_site, S3_PREFIX="site/")
    moto_site.client.put_object(Bucket=moto_site.bucket, Key="site/a", Body=b"a")
    server.get("/a").raise_for_status()
    assert purge(server, keys=["a"])["not_found"] == ["a"]
    answer = purge(server, keys=["/a", "/b"])
    assert (answer["purged"], answer["not_found"]) == (1, ["site/b"])


@pytest.mark.parametrize("body", [b"", b"{}", b'{"keys": "a"}', b"\xff", b"[" * 200_000])
def test_a_malformed_body_is_refused_with_a_reason(server: Served, body: bytes) -> None:
    response = server.admin("POST", "/cache/purge", content=body)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert '"keys"' in response.json()["error"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(server: Served, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    body = b'{"keys": ["a"]}'
    assert server.admin("POST", "/cache/purge", content=body, headers=headers).status_code == 200


def test_a_body_of_a_mebibyte_is_read(server: Served) -> None:
    body = b'{"keys": ["a"]' + b" " * (2**20 - 15) + b"}"
    assert len(body) == 2**20
    assert server.admin("POST", "/cache/purge", content=body).status_code == 200


def test_a_longer_body_is_refused(server: Served) -> None:
    body = b'{"keys": ["a"]' + b" " * 2**20 + b"}"
    response = server.admin("POST", "/cache/purge", content=body)
    assert response.status_code == 413
    assert "1048576" in response.json()["error"]


def test_an_endless_body_is_refused(server: Served, raw: OpenRaw) -> None:
    connection = raw(server.port)
    connection.get(
        "/cache/purge", f"X-Auth-Token: {server.token}", "Transfer-Encoding: chunked", method="POST"
    )
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(17):
        connection.send(chunk)
    assert connection.read_response().status == 413


def test_a_body_that_drips_is_given_up(server: Served, raw: OpenRaw) -> None:
    connection = raw(server.port)
    connection.get(
        "/cache/purge", f"X-Auth-Token: {server.token}", "Content-Length: 1000", method="POST"
    )
    began = time.monotonic()
    connection.send(b"{")
    response = connection.read_response(timeout=5)
    assert response.status == 408
    assert time.monotonic() - began >= 0.4  # READ_TIMEOUT is 500ms here
    assert connection.read_eof()


def test_the_token_is_looked_at_before_the_body(server: Served, raw: OpenRaw) -> None:
    connection = raw(server.port)
    connection.get("/cache/purge", "Content-Length: 1000000", "Expect: 100-continue", method="POST")
    assert connection.read_response().status == 401


def test_a_purge_without_the_right_token_purges_nothing(server: Served, site: S3Site) -> None:
    store(server, site, "kept")
    response = server.request(
        "POST", "/cache/purge", json={"all": True}, headers={"X-Auth-Token": "wrong-0123"}
    )
    assert response.status_code == 401
    assert cache_status(server, "kept") == "HIT"


def test_a_purge_is_logged(server: Served) -> None:
    response = server.admin("POST", "/cache/purge", json={"keys": ["x", "y"], "prefixes": ["z"]})
    request_id = response.headers["X-Request-ID"]
    record = server.wait_for_log(
        lambda record: record["logger"] == "s3proxy.admin" and record["request_id"] == request_id
    )
    assert record["level"] == "INFO"
    assert record["client"] == server.client.headers["X-Forwarded-For"]
    assert {name: record[name] for name in ("purged", "keys", "prefixes", "not_found")} == {
        "purged": 0,
        "keys": 2,
        "prefixes": 1,
        "not_found": 2,
    }


async def test_it_works_under_djangos_own_handler() -> None:
    token = {"X-Auth-Token": AUTH_TOKEN}

    async def post(body: bytes) -> Any:
        return await AsyncClient().post("/cache/purge", body, "application/json", headers=token)

    try:
        small = await post(b'{"keys": ["a"]}')
        large = await post(b" " * (2**20 + 1))
    finally:
        await close_gateway()
    assert small.json()["not_found"] == ["a"]
    assert large.status_code == 413
