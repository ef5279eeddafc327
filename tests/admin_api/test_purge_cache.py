"""`manage.py purge_cache` against a running server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.admin_api.conftest import TOKEN
from tests.admin_api.run import manage
from tests.origins.ports import free_ports, refusing_port

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.origins.site import S3Site
    from tests.served.process import Serve, Served


def purge_cache(server: Served, *arguments: str, **environ: str) -> CompletedProcess[str]:
    """The command in a shell that knows nothing of S3."""
    known = {"AUTH_TOKEN": server.token, "SERVER_ADDR": f"127.0.0.1:{server.port}"}
    done = manage("purge_cache", *arguments, environ=known | environ)
    assert server.token not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def store(server: Served, site: S3Site, *keys: str) -> None:
    for key in keys:
        site.client.put_object(Bucket=site.bucket, Key=key, Body=b"x")
        server.get(f"/{key}").raise_for_status()


def cache_status(server: Served, key: str) -> str:
    return server.get(f"/{key}").headers["X-Cache"]


def test_keys_are_purged_from_the_running_server(server: Served, site: S3Site) -> None:
    store(server, site, "a", "b", "c")
    done = purge_cache(server, "a", "/b", "/r")
    assert done.returncode == 0
    assert done.stdout == f"not stored: 'r'\nPurged 2 stored responses on {server.url}.\n"
    assert cache_status(server, "c") == "HIT"
    assert cache_status(server, "a") == "MISS"


def test_prefixes_are_purged(server: Served, site: S3Site) -> None:
    store(server, site, "img/a", "css/a", "x")
    done = purge_cache(server, "--prefix", "img/", "--prefix", "/css/")
    assert done.stdout == f"Purged 2 stored responses on {server.url}.\n"
    assert cache_status(server, "x") == "HIT"


def test_everything_is_purged(server: Served, site: S3Site) -> None:
    store(server, site, "a")
    assert purge_cache(server, "--all").stdout == f"Purged 1 stored response on {server.url}.\n"
    assert cache_status(server, "a") == "MISS"


def test_a_soft_purge_says_so(server: Served, site: S3Site) -> None:
    store(server, site, "a")
    done = purge_cache(server, "--soft", "a")
    assert done.stdout == f"Marked 1 stored response as stale on {server.url}.\n"
    assert cache_status(server, "a") in {"STALE", "REVALIDATED"}


def test_a_url_names_another_server(server: Served) -> None:
    done = purge_cache(server, "--all", "--url", f"{server.url}/", SERVER_ADDR="127.0.0.1:9")
    assert done.stdout.endswith(f"on {server.url}.\n")


@pytest.mark.parametrize("address", [":{}", "0.0.0.0:{}", "[::]:{}"])
def test_an_unspecified_host_means_this_machine(server: Served, address: str) -> None:
    done = purge_cache(server, "--all", SERVER_ADDR=address.format(server.port))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_port_alone_will_do(server: Served) -> None:
    environ = {"AUTH_TOKEN": TOKEN, "PORT": str(server.port)}
    assert manage("purge_cache", "--all", environ=environ).returncode == 0


def test_the_admin_prefix_is_heeded(serve: Serve, moto_site: S3Site) -> None:
    moved = serve(moto_site, ADMIN_PREFIX="/-/admin")
    assert purge_cache(moved, "--all", ADMIN_PREFIX="/-/admin").returncode == 0
    done = purge_cache(moved, "--all")
    assert done.returncode == 1
    assert "ADMIN_PREFIX" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--soft",), ("--all", "a"), ("--all", "--prefix", "a")])
def test_what_to_purge_must_be_said(server: Served, arguments: tuple[str, ...]) -> None:
    done = purge_cache(server, *arguments)
    assert done.returncode == 1
    assert "--all" in done.stderr


def test_a_refusal_is_a_failure(server: Served) -> None:
    done = purge_cache(server, "/%zz")
    assert done.returncode == 1
    assert "400: keys[0] is no key" in done.stderr


def test_a_wrong_token_is_a_failure(server: Served) -> None:
    done = purge_cache(server, "--all", AUTH_TOKEN="Wrong-Token-4567")
    assert done.returncode == 1
    assert "AUTH_TOKEN" in done.stderr
    assert "Wrong-Token-4567" not in done.stdout + done.stderr


def test_nobody_there_is_a_failure() -> None:
    with refusing_port() as port:
        environ = {"AUTH_TOKEN": TOKEN, "SERVER_ADDR": f":{port}"}
        done = manage("purge_cache", "--all", environ=environ)
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port} gave no answer" in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "AUTH_TOKEN is not set"),
        ({"AUTH_TOKEN": TOKEN, "SERVER_ADDR": "8080"}, "SERVER_ADDR"),
        ({"AUTH_TOKEN": TOKEN, "SERVER_ADDR": ":0"}, "--url"),
        ({"AUTH_TOKEN": TOKEN, "ADMIN_PREFIX": "-"}, "ADMIN_PREFIX"),
    ],
)
def test_an_incomplete_environment_is_named(environ: dict[str, str], said: str) -> None:
    done = manage("purge_cache", "--all", environ=environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize("url", ["10.0.0.5:8080", "ftp://host", "http://host/path", "http://u:p@h"])
def test_an_odd_url_is_refused(url: str) -> None:
    done = manage("purge_cache", "--all", "--url", url, environ={"AUTH_TOKEN": TOKEN})
    assert done.returncode == 1
    assert "--url takes" in done.stderr


def test_a_purge_that_other_replicas_were_not_told_of_is_told_as_it_is(
    serve: Serve, moto_site: S3Site
) -> None:
    [nobody] = free_ports(1)
    alone = serve(moto_site, REDIS_URL=f"redis://127.0.0.1:{nobody}")
    store(alone, moto_site, "a")
    done = purge_cache(alone, "a", "b")
    assert done.returncode == 1
    assert done.stdout == f"not stored: 'b'\nPurged 1 stored response on {alone.url}.\n"
    assert "other replicas could not be told" in done.stderr
    assert "Nothing was purged" not in done.stderr


@pytest.mark.long
def test_a_server_that_takes_a_purge_and_says_nothing_may_have_done_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = manage("purge_cache", "--all", "--url", url, environ={"AUTH_TOKEN": TOKEN})
    assert done.returncode == 1
    assert f"{url} gave no answer in 10 s; the purge may still be carried out" in done.stderr
    assert "Nothing was purged" not in done.stderr
