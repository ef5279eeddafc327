"""Purges by the control socket, which hold although no worker can be asked for them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proxy.server.control import MAX_REQUEST_BYTES, address
from tests.admin_api.run import manage
from tests.origins import hold, respond, sequence
from tests.origins.ports import free_ports
from tests.served.process import Served
from tests.server.conversation import eventually
from tests.workers.stopping import STOPPING_AT_A_KEY, state_of
from tests.workers.test_one_server import (
    FOREVER,
    ask,
    ask_all,
    ask_until_all_workers_have_answered,
)
from tests.workers.test_supervisor import wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve

WORKERS = 2


@pytest.fixture
def served(serve: Serve, origin: ScriptedOrigin) -> Served:
    running = serve(
        origin,
        workers=WORKERS,
        WORKER_TIMEOUT="10m",
        CACHE_STALE_TTL="0s",
        ACCESS_LOG="off",
    )
    wait_until_ready(running, WORKERS)
    return running


def purge_cache(
    server: Served, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    known = {"SERVER_ADDR": f"127.0.0.1:{server.port}"}
    done = manage("purge_cache", *arguments, environ=known | environ)
    assert "Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def stopped(server: Served) -> Iterator[None]:
    """All workers, as if they hung."""
    workers = server.worker_pids()
    assert len(workers) == WORKERS
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: all(state_of(pid) == "T" for pid in workers))
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    try:
        client.connect(address(host, port))
    except OSError:
        client.close()
        raise
    return client


def send(port: int, line: bytes) -> Any:
    """What is answered to a line."""
    with connect(port) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(line)
        with client.makefile("rb") as stream:
            return json.loads(stream.readline())


@pytest.mark.parametrize(
    "arguments", [("page",), ("--prefix", "pa"), ("--all",), ("/page", "--soft")]
)
def test_a_purge_holds_in_workers_that_were_stopped(
    served: Served, origin: ScriptedOrigin, arguments: tuple[str, ...]
) -> None:
    origin.on("page", respond(200, b"old", FOREVER))
    ask(served, "/page")
    ask_until_all_workers_have_answered(served, "/page", WORKERS)
    with stopped(served):
        done = purge_cache(served, "--without-http", *arguments)
        origin.on("page", respond(200, b"new", FOREVER))
    assert (done.returncode, done.stderr) == (0, "")
    said = r"(Purged 1 stored response|Marked 1 stored response as stale)"
    where = f"127.0.0.1:{served.port}, through its control socket"
    assert re.fullmatch(rf"{said} on {where}\.\n", done.stdout)
    assert {reply.body for reply in ask_all(served, ["/page"] * 16)} == {b"new"}


def test_a_fetch_in_flight_does_not_outlive_a_purge(served: Served, origin: ScriptedOrigin) -> None:
    gate = origin.gate()
    old, new = respond(200, b"old", FOREVER), respond(200, b"new", FOREVER)
    origin.on("page", sequence((hold(gate), old), new))
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(ask, served, "/page")
        origin.wait_for(1, "page")
        with stopped(served):
            assert purge_cache(served, "--without-http", "page").returncode == 0
        assert {reply.body for reply in ask_all(served, ["/page"] * 8)} == {b"new"}
        gate.open()
        assert early.result(timeout=10).body == b"old"
    assert {reply.body for reply in ask_all(served, ["/page"] * 8)} == {b"new"}


@pytest.mark.long
def test_where_no_worker_answers_the_parent_is_asked(
    served: Served, origin: ScriptedOrigin
) -> None:
    origin.on("page", respond(200, b"x", FOREVER))
    ask(served, "/page")
    with stopped(served):
        done = purge_cache(served, "page", "other", AUTH_TOKEN=served.token)
    assert done.returncode == 0
    assert "no answer in 10 s; asking by the control socket" in done.stderr
    assert done.stdout.startswith("not stored: 'other'\nPurged 1 stored response on 127.0.0.1:")
    assert served.token not in done.stdout + done.stderr


def test_where_connections_are_refused_the_parent_is_asked(
    served: Served, origin: ScriptedOrigin
) -> None:
    """As while a server finishes what is running, and accepts nothing more."""
    gate = origin.gate()
    origin.on("slow", hold(gate), respond(200, b"x", FOREVER))
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(ask, served, "/slow")
        origin.wait_for(1, "slow")
        served.process.terminate()
        served.wait_for_log(lambda record: record["message"] == "stopping")
        eventually(lambda: not _accepts(served.port))
        done = purge_cache(served, "--all", AUTH_TOKEN=served.token)
        gate.open()
        assert early.result(timeout=10).body == b"x"
    assert done.returncode == 0
    assert "asking by the control socket" in done.stderr
    assert served.wait() == 0


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_a_server_that_refuses_is_not_asked_another_way(served: Served) -> None:
    done = purge_cache(served, "--all", AUTH_TOKEN="another-token-0123456789")
    assert done.returncode == 1
    assert "control" not in done.stdout + done.stderr


def test_a_url_means_http(served: Served) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    done = purge_cache(served, "--all", "--url", url, AUTH_TOKEN=served.token)
    assert done.returncode == 1
    assert "control" not in done.stderr
    both = purge_cache(served, "--all", "--url", url, "--without-http")
    assert both.returncode != 0
    assert "not allowed with" in both.stderr


def test_nobody_there_is_a_failure(served: Served) -> None:
    [port] = free_ports(1)
    done = purge_cache(served, "--without-http", "--all", SERVER_ADDR=f":{port}")
    assert done.returncode == 1
    assert f"*:{port} has no control socket" in done.stderr


def test_a_refused_purge_is_a_failure(served: Served) -> None:
    done = purge_cache(served, "--without-http", "/%zz")
    assert done.returncode == 1
    assert "keys[0] is no key" in done.stderr


def test_the_answer_is_that_of_the_api(served: Served, origin: ScriptedOrigin) -> None:
    origin.default(respond(200, b"x", FOREVER))
    answers = []
    for way in ("http", "control"):
        ask_all(served, ["/a", "/b"])
        asked = {"keys": ["a", "/b", "c"], "soft": False}
        if way == "http":
            answers.append(served.admin("POST", "/cache/purge", json=asked).json())
        else:
            answers.append(send(served.port, json.dumps(asked).encode() + b"\n"))
    assert answers[0] == answers[1]
    assert answers[1]["not_found"] == ["c"]


def test_the_prefix_in_the_bucket_is_heeded(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, S3_PREFIX="site/")
    origin.on("site/a", respond(200, b"x", FOREVER))
    ask(served, "/a")
    assert send(served.port, b'{"keys": ["/a"]}\n')["purged"] == 1


def test_it_is_logged_and_counted(served: Served, origin: ScriptedOrigin) -> None:
    origin.default(respond(200, b"x", FOREVER))
    for turn in range(1, 3):
        ask(served, "/a")
        assert send(served.port, b'{"keys": ["a"]}\n')["purged"] == 1
        served.wait_for_log(lambda record: record.get("via") == "control")
        text = served.admin("GET", "/metrics").text
        assert f"proxy_purges_total {turn}.0" in text
        assert f'proxy_cache_evictions_total{{reason="purge"}} {turn}.0' in text
    line = served.wait_for_log(lambda record: record["message"] == "purge")
    assert (line["purged"], line["keys"], line["not_found"]) == (1, 1, 0)


def test_other_replicas_are_said_not_to_know(serve: Serve, origin: ScriptedOrigin) -> None:
    [nobody] = free_ports(1)
    served = serve(origin, REDIS_URL=f"redis://127.0.0.1:{nobody}")
    done = purge_cache(served, "--without-http", "--all")
    assert done.returncode == 1
    assert done.stdout.startswith("Purged 0 stored responses")
    assert "replicas were not told" in done.stderr


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\n", "not JSON"),
        (b"GET / HTTP/1.1\r\n", "not JSON"),
        (b"\xff\x00\n", "not UTF-8"),
        (b"{}\n", "nothing to purge"),
        (b'{"all": true}\n{"all": true}\n', "not JSON"),
        (b" " * MAX_REQUEST_BYTES + b"\n", "over"),
        (b" " * (8 * MAX_REQUEST_BYTES), "over"),
        (b'{"all": true}', "did not come in time"),
    ],
)
def test_what_is_no_request_is_refused(served: Served, sent: bytes, said: str) -> None:
    assert said in send(served.port, sent)["error"]
    assert send(served.port, b'{"all": true}\n')["purged"] == 0
    assert "Traceback" not in served.output


def test_the_largest_request_is_taken(served: Served) -> None:
    line = b'{"all": true}'.ljust(MAX_REQUEST_BYTES - 1) + b"\n"
    assert send(served.port, line)["all"] is True


def test_silent_clients_do_not_keep_the_parent_from_its_work(
    served: Served, origin: ScriptedOrigin
) -> None:
    origin.default(respond(200, b"x"))
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(connect(served.port))
        # Gone before it is accepted.
        connect(served.port).close()
        victim = served.worker_pids()[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        served.wait_for_log(lambda record: record["message"] == "worker died", 1.0)
        wait_until_ready(served, WORKERS)
        assert time.monotonic() - began < 2.5
        # Each of them has a second.
        assert send(served.port, b'{"all": true}\n')["all"] is True
    eventually(lambda: len(served.worker_pids()) == WORKERS)
    assert served.terminate() == 0
    assert "Traceback" not in served.output


def test_what_a_stopped_worker_has_locked_does_not_hold_up_the_parent(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    """The purge waits for the lock, the parent does not, and so frees it."""
    environ = {"WORKER_TIMEOUT": "3s", "WEB_CONCURRENCY": "1"}
    with Served(origin.environ() | environ, command=STOPPING_AT_A_KEY) as served:
        [victim] = served.worker_pids()
        with contextlib.closing(socket.create_connection(("127.0.0.1", served.port))) as client:
            client.sendall(b"GET /stop HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: state_of(victim) == "T")
            assert send(served.port, b'{"keys": ["a"]}\n')["keys"] == 1
        # It has to be reaped as well, for which the purge does not wait.
        eventually(lambda: _pids_gone(victim))
        served.wait_for_line('"hung"')


def _pids_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_servers_are_told_apart_by_their_ports(serve: Serve, origin: ScriptedOrigin) -> None:
    origin.default(respond(200, b"x", FOREVER))
    first, second = serve(origin), serve(origin)
    for served in (first, second):
        ask(served, "/a")
    assert send(first.port, b'{"all": true}\n')["purged"] == 1
    asked = origin.count()
    ask(second, "/a")
    assert origin.count() == asked
    ask(first, "/a")
    assert origin.count() == asked + 1


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_socket_is_gone_after_the_end(served: Served, end: signal.Signals) -> None:
    workers = served.worker_pids()
    connect(served.port).close()
    served.process.send_signal(end)
    served.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    with pytest.raises(ConnectionRefusedError):
        connect(served.port)


def test_workers_do_not_hold_it(served: Served) -> None:
    name = address("127.0.0.1", served.port).replace("\0", "@")
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    [inode] = [row[6] for row in rows if row[-1] == name]
    assert f"socket:[{inode}]" in _descriptors(served.process.pid)
    for pid in served.worker_pids():
        assert f"socket:[{inode}]" not in _descriptors(pid)


def _descriptors(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


if os.geteuid() == 0:

    def test_another_user_of_the_machine_is_refused(served: Served, origin: ScriptedOrigin) -> None:
        origin.on("a", respond(200, b"x", FOREVER))
        ask(served, "/a")
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "client = socket.socket(socket.AF_UNIX); client.connect(chr(0) + sys.argv[1])\n"
            "print(client.recv(1000).decode())\n"
        )
        name = address("127.0.0.1", served.port)[1:]
        done = subprocess.run(
            (sys.executable, "-c", code, name), capture_output=True, text=True, timeout=20
        )
        assert "own user" in done.stdout
        asked = origin.count()
        ask(served, "/a")
        assert origin.count() == asked
