"""Checks the runner itself with small servers in the proxy's place."""

from __future__ import annotations

import os
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.raw_http import RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVER = """
    import http.server, json, os, signal, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            print(json.dumps({"path": self.path}))
            body = json.dumps(dict(os.environ, auth=self.headers["Authorization"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args): pass

    host, _, port = os.environ["SERVER_ADDR"].rpartition(":")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(os.environ.get("STATUS", "0"))))
    print("not JSON")
    print("a warning", file=sys.stderr)
    http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


def python(code: str) -> Sequence[str]:
    return (sys.executable, "-c", dedent(code))


@pytest.fixture
def served() -> Iterator[Served]:
    with Served({"STATUS": "7", "CACHE_TTL": "1s"}, command=python(SERVER)) as running:
        yield running


def test_it_answers_once_constructed(served: Served) -> None:
    assert served.get("/x").status_code == 200


def test_the_process_has_the_given_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = served.get("/x").json()
    assert environ["CACHE_TTL"] == "1s"
    assert environ["SERVER_ADDR"] == f"127.0.0.1:{served.port}"
    assert environ["AUTH_TOKEN"] == served.token
    # In os.environ by `tests.environment`, and not asked for.
    assert "S3_BUCKET" in os.environ
    assert "S3_BUCKET" not in environ


def test_admin_requests_carry_the_token(served: Served) -> None:
    assert served.admin("GET", "/cache/stats").json()["auth"] == f"Bearer {served.token}"


def test_both_outputs_are_collected(served: Served) -> None:
    assert served.wait_for_line("warning") == "a warning"
    served.wait_for_line("not JSON")


def test_a_log_record_can_be_waited_for(served: Served) -> None:
    served.get("/waited")
    record = served.wait_for_log(lambda record: record["path"] == "/waited")
    assert record == {"path": "/waited"}
    assert record in served.json_lines()


def test_a_log_record_that_does_not_come_fails(served: Served) -> None:
    with pytest.raises(AssertionError, match="not JSON"):
        served.wait_for_log(lambda record: False, timeout=0.05)


def test_terminating_gives_the_exit_status(served: Served) -> None:
    assert served.terminate() == 7


def test_killing_ends_it(served: Served) -> None:
    served.kill()
    with pytest.raises(ConnectionRefusedError):
        RawConnection("127.0.0.1", served.port)


def test_an_early_exit_fails_with_the_output() -> None:
    code = "import sys; print('S3_BUCKET is missing', file=sys.stderr); sys.exit(1)"
    with pytest.raises(RuntimeError, match=r"status 1[^$]*S3_BUCKET is missing"):
        Served({}, command=python(code))


def test_a_server_that_never_answers_fails_in_time() -> None:
    code = "import signal; print('thinking'); signal.pause()"
    with pytest.raises(RuntimeError, match=r"is None, not 200[^$]*thinking"):
        Served({}, command=python(code), start_limit=0.3)


def test_closing_ends_children_that_outlive_their_parent() -> None:
    # The child inherits the listening socket, so that the port refuses only once it is gone.
    code = SERVER.replace(
        "http.server.HTTPServer((host, int(port)), Handler).serve_forever()",
        "server = http.server.HTTPServer((host, int(port)), Handler)\n"
        "    if os.fork() == 0: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    server.serve_forever()",
    )
    served = Served({}, command=python(code))
    assert served.process.poll() is None
    served.process.terminate()
    assert served.process.wait(5) == 0
    served.close()
    with pytest.raises(ConnectionRefusedError):
        RawConnection("127.0.0.1", served.port)


def test_records_are_objects_only() -> None:
    code = SERVER.replace("not JSON", "{broken").replace("a warning", "[1]")
    with Served({}, command=python(code)) as served:
        served.wait_for_line("{broken")
        served.wait_for_line("[1]")
        assert served.wait_for_log(lambda record: True) == {"path": "/healthz"}
        assert all(isinstance(record, dict) for record in served.json_lines())
