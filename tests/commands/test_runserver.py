"""`manage.py runserver`: as `serve`, and it reloads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.environment import without_proxy_variables
from tests.origins import free_ports, respond
from tests.raw_http import RawConnection
from tests.served.process import ROOT, SERVE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.origins import ScriptedOrigin

PYTHON = SERVE[0]


@contextmanager
def runserver(
    project: Path,
    origin: ScriptedOrigin,
    *arguments: str,
    port: int,
    log: Path,
    configured: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in `project`, once it answers on `port`; ends with all its children.

    `configured` is the port in SERVER_ADDR where that is another.
    """
    environ = without_proxy_variables(os.environ) | origin.environ()
    environ |= {
        "AUTH_TOKEN": "token-of-sixteen-chars",
        "PYTHONUNBUFFERED": "1",
        "WEB_CONCURRENCY": "2",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            (PYTHON, "manage.py", "runserver", *arguments),
            cwd=project,
            env=environ | {"SERVER_ADDR": f"127.0.0.1:{configured or port}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_it_answers(port, log)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until_it_answers(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    copy = tmp_path / "project"
    for name in ("proxy", "admin_api", "s3proxy_site"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", copy / "manage.py")
    return copy


@pytest.mark.parametrize("arguments", [(), ("--noreload",)], ids=["reloading", "not"])
def test_it_serves_as_serve_does(
    tmp_path: Path, origin: ScriptedOrigin, arguments: tuple[str, ...]
) -> None:
    origin.on("a", respond(200, b"hello"))
    [port] = free_ports(1)
    log = tmp_path / "log"
    with runserver(ROOT, origin, *arguments, port=port, log=log) as process:
        with RawConnection("127.0.0.1", port) as client:
            for cache in (b"MISS", b"HIT"):
                client.get("/a")
                answer = client.read_response()
                assert (answer.body, answer.header("X-Cache")) == (b"hello", cache)
            client.send(b"GET /a HTTP/1.1\r\n\r\n")
            assert client.read_response().status == 400
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    written = log.read_text()
    assert f"http://127.0.0.1:{port}/" in written
    assert '"path": "/a"' in written
    assert "Traceback" not in written
    # It has one process, whatever is configured, so there is nothing to warn of.
    assert "WARNING" not in written
    assert "WEB_CONCURRENCY" not in written


@pytest.mark.parametrize("address", ["{port}", ":{port}", "127.0.0.1:{port}", "localhost:{port}"])
def test_the_address_may_be_an_argument(
    tmp_path: Path, origin: ScriptedOrigin, address: str
) -> None:
    named, configured = free_ports(2)
    command = ("--noreload", address.format(port=named))
    log = tmp_path / "log"
    with (
        runserver(ROOT, origin, *command, port=named, log=log, configured=configured),
        pytest.raises(ConnectionRefusedError),
    ):
        RawConnection("127.0.0.1", configured)


def test_a_bad_address_is_refused(origin: ScriptedOrigin) -> None:
    ended = subprocess.run(
        (PYTHON, "manage.py", "runserver", "nowhere:http"),
        cwd=ROOT,
        env=without_proxy_variables(os.environ)
        | origin.environ()
        | {"AUTH_TOKEN": "token-of-sixteen-chars"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert "nowhere:http" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_change_of_the_code_is_served_after_a_reload(
    tmp_path: Path, project: Path, origin: ScriptedOrigin
) -> None:
    page = project / "proxy" / "core" / "error_page.py"
    text = page.read_text()
    assert r'f"{status} {phrase}\n"' in text
    [port] = free_ports(1)
    with runserver(project, origin, port=port, log=tmp_path / "log"):
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "404 Not Found\n"
        page.write_text(text.replace(r'f"{status} {phrase}\n"', r'f"{status} changed\n"'))
        deadline = time.monotonic() + 15
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "404 changed\n":
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
