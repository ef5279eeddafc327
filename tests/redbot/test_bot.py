"""REDbot, as we run it, sees what is bad, stays on this machine and says when it fails."""

from __future__ import annotations

import http.server
import threading
from typing import Any

import pytest

from tests.origins.ports import refusing_port
from tests.redbot.bot import ONLY_HOST, objection
from tests.redbot.cases import Probe
from tests.redbot.verdict import judge

PROBE = Probe("page", "/page")


class Careless(http.server.BaseHTTPRequestHandler):
    """Promises ranges, does not know them, and was stored less than no time ago."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "200")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Age", "-1")
        self.end_headers()
        self.wfile.write(b"x" * 200)

    def log_message(self, *_: object) -> None:
        pass


def test_bad_answers_are_called_bad() -> None:
    with http.server.ThreadingHTTPServer((ONLY_HOST, 0), Careless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            (verdict,) = judge(f"http://{ONLY_HOST}:{server.server_port}", [PROBE])
        finally:
            server.shutdown()
            thread.join()
    assert verdict.error is None
    assert verdict.named("BAD") == ["AGE_NEGATIVE"]
    assert "RANGE_FULL" in verdict.named("WARN")


def test_a_server_that_refuses_is_an_error() -> None:
    with refusing_port() as port:
        (verdict,) = judge(f"http://{ONLY_HOST}:{port}", [PROBE, PROBE])
    assert verdict.error is not None


def test_no_other_address_is_reached() -> None:
    """Another address of this machine stands for all of them."""
    with pytest.raises(RuntimeError, match=r"not socket\.connect to \('127\.0\.0\.2', 9\)"):
        judge("http://127.0.0.2:9", [PROBE])


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.getaddrinfo", ("localhost", 80)),
        ("socket.gethostbyname", ("localhost",)),
        ("socket.sendto", (None, (ONLY_HOST, 53))),
        ("socket.connect", (None, ("::1", 80, 0, 0))),
    ],
)
def test_no_name_is_looked_up(event: str, arguments: tuple[Any, ...]) -> None:
    assert objection(event, arguments) is not None


def test_this_machine_may_be_asked() -> None:
    assert objection("socket.connect", (None, (ONLY_HOST, 80))) is None
