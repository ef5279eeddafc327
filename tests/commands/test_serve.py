"""`manage.py serve` that does not start, and says why."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.environment import without_proxy_variables
from tests.origins import refusing_port
from tests.served.process import ROOT, SERVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.origins import ScriptedOrigin

UVICORN = (SERVE[0], "-m", "uvicorn", "s3proxy_site.asgi:application", "--port", "0")
BROKEN = {
    "S3_ENDPOINT": "s3.example.com",
    "S3_SECRET_KEY": "do-not-show-this",
    "CACHE_TTL": "300",
    "RATE_LIMIT_RPS": "many",
}


def run(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command's end, with nothing of our own configuration but `environ`."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=without_proxy_variables(os.environ) | environ,
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize("command", [SERVE, UVICORN], ids=["serve", "uvicorn"])
def test_a_broken_environment_is_told_in_one_message(command: Sequence[str]) -> None:
    ended = run(command, BROKEN)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1
    for name in ("AUTH_TOKEN", "S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY", "CACHE_TTL",
                 "RATE_LIMIT_RPS"):  # fmt: skip
        assert output.count(f"{name} is ") == 1, output
    assert "300s" in output
    assert "S3_SECRET_KEY" not in output
    assert "do-not-show-this" not in output
    assert "Traceback" not in output


def test_a_port_that_is_taken_is_named_with_the_variable(origin: ScriptedOrigin) -> None:
    environ = origin.environ() | {"AUTH_TOKEN": "token-of-sixteen-chars"}
    with refusing_port() as port, socket.create_server(("127.0.0.1", 0)) as taken:
        assert port
        number = taken.getsockname()[1]
        ended = run(SERVE, environ | {"SERVER_ADDR": f"127.0.0.1:{number}"})
    assert ended.returncode == 1
    assert f"127.0.0.1:{number}" in ended.stderr
    assert "Address already in use; SERVER_ADDR" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_host_that_is_not_of_this_machine_is_named(origin: ScriptedOrigin) -> None:
    environ = origin.environ() | {"AUTH_TOKEN": "token-of-sixteen-chars"}
    ended = run(SERVE, environ | {"SERVER_ADDR": "192.0.2.1:8080"})
    assert ended.returncode == 1
    assert "192.0.2.1:8080" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
