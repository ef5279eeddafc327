"""What several workers write to one output."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.origins import respond
from tests.raw_http import RawConnection
from tests.served.process import SERVE, Served
from tests.workers.test_supervisor import wait_until_ready

if TYPE_CHECKING:
    from pathlib import Path

    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve

CLIENTS, EACH = 8, 60
# Longer than any key, so that it is refused; a pipe takes 4,096 bytes at once.
PATH = "/" + "%C3%BC" * 4000


def test_lines_are_whole_whatever_their_length(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, workers=4)
    wait_until_ready(served, 4)

    def ask(client: int) -> None:
        with RawConnection("127.0.0.1", served.port) as connection:
            for number in range(EACH):
                connection.get(PATH if number % 2 else f"/{client}")
                connection.read_response()

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(CLIENTS)))
    assert served.terminate() == 0
    records = [json.loads(line) for line in served.lines]
    long = [record for record in records if str(record.get("path", "")).startswith("/%C3")]
    assert len(long) == CLIENTS * EACH // 2
    assert max(map(len, served.lines)) < 4096


def read_what_there_is(descriptor: int) -> bytes:
    """Everything in a pipe that does not block."""
    read = b""
    with suppress(BlockingIOError):
        while piece := os.read(descriptor, 65536):
            read += piece
    return read


def ask_until_nothing_comes(client: RawConnection) -> int:
    """How many requests that took, the one without an answer among them."""
    # A pipe holds 64 KiB, some hundred lines.
    for asked in range(1, 2000):
        client.get("/a")
        try:
            client.read_response()
        except TimeoutError:
            return asked
    raise AssertionError("it goes on")


def test_a_log_that_nobody_reads_makes_everyone_wait_and_loses_nothing(
    origin: ScriptedOrigin, tmp_path: Path
) -> None:
    origin.default(respond(200, b"x", {"Cache-Control": "max-age=600"}))
    os.mkfifo(tmp_path / "log")
    log = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    into_log = ("bash", "-c", f'exec "$@" > {tmp_path}/log 2>&1', "-", *SERVE)
    environ = origin.environ() | {"WEB_CONCURRENCY": "2"}
    try:
        with Served(environ, command=into_log) as served:
            with RawConnection("127.0.0.1", served.port, timeout=1) as client:
                asked = ask_until_nothing_comes(client)
                lines = read_what_there_is(log)
                # Not a single answer is lost by it.
                assert client.read_response(timeout=10).status == 200
            assert served.get("/b").status_code == 200
            served.terminate()
            lines += read_what_there_is(log)
    finally:
        os.close(log)
    paths = [json.loads(line).get("path") for line in lines.splitlines()]
    assert (paths.count("/a"), paths.count("/b")) == (asked, 1)
