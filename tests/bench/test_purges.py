"""Checks the object that changes, on a server that says what it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from bench.client import Connection
from bench.contestants import BUCKET, TOKEN, Origin
from bench.errors import BenchError
from bench.machine import cores
from bench.processes import Process
from bench.purges import SentPurge, Versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Answering(BaseHTTPRequestHandler):
    """Serves a file for a GET, writes down a POST."""

    protocol_version = "HTTP/1.1"
    root: Path
    status = 200
    posted: ClassVar[list[tuple[str, str, Any]]]

    def do_GET(self) -> None:
        self.answer((self.root / BUCKET / self.path[1:]).read_bytes())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, self.headers["X-Auth-Token"], json.loads(body)))
        self.answer(b"{}")

    def answer(self, body: bytes) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[type[Answering], int]]:
    class Handler(Answering):
        root = tmp_path
        posted: ClassVar[list[tuple[str, str, Any]]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Handler, server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    with Process(["sleep", "60"], cores=(cores().client,), log=tmp_path / "log") as process:
        yield Origin(0, tmp_path, tmp_path, process)


def test_only_the_newest_version_is_the_newest(
    answering: tuple[type[Answering], int], origin: Origin
) -> None:
    versions = Versions(origin, "fresh/a")
    versions.next()
    with Connection(answering[1]) as connection:
        assert versions.is_newest(connection)
        old = (origin.root / BUCKET / "fresh/a").read_bytes()
        versions.next()
        assert versions.is_newest(connection)
        (origin.root / BUCKET / "fresh/a").write_bytes(old)
        assert not versions.is_newest(connection)


def test_versions_differ_in_size_and_so_in_nginx_s_entity_tag(origin: Origin) -> None:
    sizes = {len(origin.put_version("fresh/a", number)) for number in range(1, 200)}
    assert len(sizes) == 199
    assert [path.name for path in (origin.root / BUCKET / "fresh").iterdir()] == ["a"]


def test_a_purge_is_sent_with_the_token(answering: tuple[type[Answering], int]) -> None:
    handler, port = answering
    with Connection(port) as connection:
        SentPurge(connection, "fresh/a").send()
    assert handler.posted == [("/cache/purge", TOKEN, {"keys": ["fresh/a"]})]


def test_a_purge_that_is_refused_is_an_error(answering: tuple[type[Answering], int]) -> None:
    handler, port = answering
    handler.status = 503
    with Connection(port) as connection, pytest.raises(BenchError, match="503"):
        SentPurge(connection, "fresh/a").send()
