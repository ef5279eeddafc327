"""`manage.py cache_stats` against a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.admin_api.conftest import TOKEN
from tests.admin_api.run import manage
from tests.origins.ports import refusing_port

if TYPE_CHECKING:
    from tests.origins.site import S3Site
    from tests.served.process import Served


def environ(server: Served) -> dict[str, str]:
    return {"AUTH_TOKEN": server.token, "SERVER_ADDR": f"127.0.0.1:{server.port}"}


def test_it_prints_the_numbers_of_the_running_server(server: Served, site: S3Site) -> None:
    site.client.put_object(Bucket=site.bucket, Key="a", Body=b"x")
    for _ in range(2):
        server.get("/a").raise_for_status()
    done = manage("cache_stats", environ=environ(server))
    assert done.returncode == 0
    assert "entries         1 of 2,048\n" in done.stdout
    assert "hit ratio       50.0%\n" in done.stdout
    (worker,) = server.worker_pids()
    assert f"worker 1        pid {worker}, ready, up " in done.stdout
    assert done.stdout.endswith(f"Asked 1 worker on {server.url}.\n")
    assert TOKEN not in done.stdout


def test_json_is_the_servers(server: Served) -> None:
    done = manage("cache_stats", "--json", environ=environ(server))
    assert done.returncode == 0
    assert json.loads(done.stdout)["workers"][0]["pid"] == server.worker_pids()[0]


def test_nobody_there_is_a_failure() -> None:
    with refusing_port() as port:
        known = {"AUTH_TOKEN": TOKEN, "SERVER_ADDR": f"127.0.0.1:{port}"}
        done = manage("cache_stats", environ=known)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No statistics" in done.stderr


def test_a_wrong_token_is_a_failure(server: Served) -> None:
    done = manage("cache_stats", environ=environ(server) | {"AUTH_TOKEN": "Wrong-Token-4567"})
    assert done.returncode == 1
    assert "AUTH_TOKEN" in done.stderr
