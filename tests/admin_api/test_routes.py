"""Which paths and methods are admin routes, which are objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import Resolver404, URLResolver
from django.urls.resolvers import RegexPattern

from admin_api.urls import routes

if TYPE_CHECKING:
    from tests.origins.site import S3Site
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve, Served

READS = ["/healthz", "/readyz", "/metrics", "/cache/stats"]


def resolved(prefix: str, path: str) -> str | None:
    """The name of the admin route at a decoded path; None where an object is."""
    try:
        return URLResolver(RegexPattern(r"^/"), routes(prefix)).resolve(path).url_name
    except Resolver404:
        return None


@pytest.mark.parametrize("prefix", ["", "/-", "/admin/s3proxy", "/a.b~c"])
def test_the_prefix_moves_the_routes(prefix: str) -> None:
    names = ["healthz", "readyz", "metrics", "cache/purge", "cache/stats"]
    found = [resolved(prefix, f"{prefix}/{name}") for name in names]
    assert found == ["healthz", "readyz", "metrics", "cache-purge", "cache-stats"]
    assert resolved(prefix, f"{prefix}/cache/logo.png") == "cache-unknown"
    assert resolved(prefix, f"{prefix}/cache/") == "cache-unknown"


def test_with_a_prefix_the_plain_paths_are_objects_but_for_healthz() -> None:
    paths = ["/readyz", "/metrics", "/cache/purge", "/cache/stats", "/cache/x", "/-", "/-/", "/-/x"]
    assert [resolved("/-", path) for path in paths] == [None] * len(paths)
    assert resolved("/-", "/healthz") == "healthz"


@pytest.mark.parametrize(
    "path",
    ["/healthz/", "//healthz", "/Healthz", "/healthz\n", "/x/healthz", "/metrics/", "/cache",
     "//cache/stats", "/Cache/stats", "/x/cache/stats", "/a.b/metrics"],
)  # fmt: skip
def test_paths_are_exact(path: str) -> None:
    assert resolved("", path) is None


def test_a_dot_of_the_prefix_is_a_dot() -> None:
    assert resolved("/a.b", "/aXb/cache/x") is None


@pytest.mark.parametrize("path", READS)
def test_head_is_get_without_a_body(server: Served, raw: OpenRaw, path: str) -> None:
    got = server.admin("GET", path)
    connection = raw(server.port)
    connection.get(path, f"X-Auth-Token: {server.token}", method="HEAD")
    head = connection.read_response(method="HEAD")
    assert head.status == got.status_code == 200
    assert head.header("Content-Type") == got.headers["Content-Type"].encode()
    assert int(head.header("Content-Length") or b"0") > 0
    # The next answer on the connection begins where the head ended.
    connection.get("/healthz")
    assert connection.read_response().body == b"ok"


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_reads_take_get_and_head_only(server: Served, path: str, method: str) -> None:
    response = server.admin(method, path)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_purge_takes_post_only(server: Served, method: str) -> None:
    response = server.admin(method, "/cache/purge")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", [*READS, "/cache/purge"])
def test_options_tells_the_methods(server: Served, path: str) -> None:
    response = server.request("OPTIONS", path)
    assert (response.status_code, response.content) == (204, b"")
    assert "OPTIONS" in response.headers["Allow"]
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    ("method", "path"),
    [*(("GET", path) for path in READS), ("POST", "/cache/purge"), ("GET", "/cache/x"),
     ("OPTIONS", "/metrics"), ("PUT", "/metrics")],
)  # fmt: skip
def test_no_answer_may_be_stored_or_sniffed(
    server: Served, method: str, path: str, token: bool
) -> None:
    response = server.admin(method, path) if token else server.request(method, path)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    policy = response.headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/cache/logo.png", "/cache/", "/cache/purge/", "/cache%2Fx"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_what_else_is_under_cache_is_no_object(
    server: Served, site: S3Site, method: str, path: str
) -> None:
    site.client.put_object(Bucket=site.bucket, Key="cache/logo.png", Body=b"object")
    assert server.request(method, path).status_code == 401
    response = server.admin(method, path)
    assert response.status_code == 404
    assert "X-Cache" not in response.headers


def test_lookalikes_are_objects(server: Served, site: S3Site, raw: OpenRaw) -> None:
    for key in ("healthz/", "/healthz", "cache", "Metrics"):
        site.client.put_object(Bucket=site.bucket, Key=key, Body=key.encode())
        connection = raw(server.port)
        connection.get(f"/{key}")
        assert connection.read_response().body == key.encode()


def test_a_moved_admin_interface_gives_its_keys_back(serve: Serve, moto_site: S3Site) -> None:
    moto_site.client.put_object(Bucket=moto_site.bucket, Key="cache/stats", Body=b"object")
    moved = serve(moto_site, ADMIN_PREFIX="/-")
    assert moved.get("/cache/stats").text == "object"
    assert moved.get("/healthz").text == moved.get("/-/healthz").text == "ok"
    assert moved.get("/-/cache/stats").status_code == 401
    assert moved.admin("GET", "/-/cache/stats").json()["total"]["entries"] == 1
    assert moved.admin("GET", "/-/cache/other").status_code == 404
