"""The admin token, nor a guess at it, is nowhere but where it was sent from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.origins import respond
from tests.raw_http import RawConnection
from tests.served.process import ROOT

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve, Served

RIGHT = "Marker-0f9c81d2aa47"
WRONG = "Guess-77c2e0d1b3f5"
PATHS = [
    "/readyz",
    "/metrics",
    "/cache/stats",
    "/cache/purge",
    "/cache/x",
    "/object",
    "/..",
    "/healthz",
]


def said(served: Served) -> list[str]:
    """Every answer to every way of offering either token."""
    texts = []
    for token in (RIGHT, WRONG):
        for path in PATHS:
            for target, *fields in (
                (path, f"X-Auth-Token: {token}"),
                (path, f"Authorization: Bearer {token}"),
                (f"{path}?token={token}",),
                (f"{path}?token=%{ord(token[0]):02x}{token[1:]}",),
                (f"{path}/{{}}?token={token}&x",),
                (path, f"X-Auth-Token: {token}", "Content-Length: x"),
                (path, f"X-Auth-Token: {token}", "X" * 33_000 + ": y"),
            ):
                for method in ("GET", "POST"):
                    with RawConnection("127.0.0.1", served.port) as client:
                        client.get(target, *fields, "Accept: text/html", method=method)
                        answer = client.read_response()
                        texts.append(repr((answer.headers, answer.body)))
    return texts


def titles(served: Served) -> str:
    """What the process list shows of the parent, its workers and all their threads."""
    found = []
    for pid in (served.process.pid, *served.worker_pids()):
        found.append(Path(f"/proc/{pid}/cmdline").read_text())
        found += [comm.read_text() for comm in Path(f"/proc/{pid}/task").glob("*/comm")]
    return "".join(found)


@pytest.mark.parametrize(("level", "form"), [("debug", "text"), ("info", "json")])
def test_no_token_is_anywhere(serve: Serve, origin: ScriptedOrigin, level: str, form: str) -> None:
    origin.default(respond(200, b"x"))
    proxy = serve(origin, workers=2, AUTH_TOKEN=RIGHT, LOG_LEVEL=level, LOG_FORMAT=form)
    answers = "\n".join(said(proxy))
    metrics = proxy.admin("GET", "/metrics").text
    processes = titles(proxy)
    statistics = proxy.admin("GET", "/cache/stats").text
    doctors = [
        subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=proxy.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for command in (("doctor",), ("cache_stats",), ("check", "--deploy"), ("purge_cache", "x"))
    ]
    assert [doctor.returncode for doctor in doctors[1:]] == [0, 0, 0]
    proxy.terminate()
    asked = b"".join(b"".join(request.headers[0]) + request.target for request in origin.requests)
    everything = {
        "answers": answers,
        "metrics": metrics,
        "statistics": statistics,
        "processes": processes,
        "commands": "".join(doctor.stdout + doctor.stderr for doctor in doctors),
        "log": proxy.output,
        "origin": asked.decode("latin-1"),
    }
    for where, text in everything.items():
        assert text, where
        for token in (RIGHT, WRONG):
            # In any case, and cut off at either end.
            assert token[:12].lower() not in text.lower(), where
            assert token[-8:].lower() not in text.lower(), where
    assert "too many wrong admin tokens" in proxy.output


def test_a_refused_configuration_does_not_show_the_token(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    with pytest.raises(RuntimeError) as refused:
        serve(origin, AUTH_TOKEN="Marker with a space", CACHE_TTL="x")
    assert "AUTH_TOKEN" in str(refused.value)
    assert "Marker" not in str(refused.value)
