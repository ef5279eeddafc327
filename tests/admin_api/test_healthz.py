"""`/healthz`: public, whatever S3 does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.origins.ports import refusing_port
from tests.served.process import Served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.raw_http import OpenRaw

UNREACHABLE = {"S3_BUCKET": "bucket", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"}


def test_it_answers_ok(server: Served) -> None:
    response = server.get("/healthz")
    assert (response.status_code, response.text) == (200, "ok")
    assert response.headers["Content-Type"].startswith("text/plain")


def test_the_host_header_does_not_matter(server: Served, raw: OpenRaw) -> None:
    for host in ("healthcheck.railway.app", "no_such_host:1", "[::1]:8080", "10.0.0.1"):
        connection = raw(server.port)
        connection.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.read_response().body == b"ok"


def test_it_needs_no_s3(tmp_path: Path) -> None:
    with refusing_port() as port:
        environ = UNREACHABLE | {"S3_ENDPOINT": f"http://127.0.0.1:{port}", "RATE_LIMIT_RPS": "1"}
        with Served(environ | {"ADMIN_PREFIX": "/-"}, temporary=tmp_path) as served:
            for path in ("/healthz", "/-/healthz"):
                assert {served.get(path).status_code for _ in range(20)} == {200}
