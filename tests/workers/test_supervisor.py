"""`serve` with several workers: who dies, hangs or is told to go is replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.origins import respond
from tests.origins.ports import free_ports
from tests.raw_http import RawConnection
from tests.served.process import ROOT, SERVE, Served
from tests.served.test_stopping import refuses
from tests.server.conversation import eventually
from tests.workers.load import Load
from tests.workers.stopping import STOPPING_AT_A_KEY, state_of

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.served.process import Serve

BODY = b"0123456789abcdef" * 64


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False


def states(served: Served) -> list[str]:
    return [each["state"] for each in served.admin("GET", "/cache/stats").json()["workers"]]


def wait_until_ready(served: Served, workers: int) -> None:
    eventually(lambda: states(served) == ["ready"] * workers)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_there_are_as_many_workers_as_asked_for(
    serve: Serve, origin: ScriptedOrigin, workers: int
) -> None:
    served = serve(origin, workers=workers)
    wait_until_ready(served, workers)
    assert len(served.worker_pids()) == workers
    assert served.terminate() == 0
    assert "Traceback" not in served.output


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_is_replaced(
    serve: Serve, origin: ScriptedOrigin, workers: int
) -> None:
    served = serve(origin, workers=workers)
    wait_until_ready(served, workers)
    victim = served.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    died = served.wait_for_log(lambda record: record["message"] == "worker died")
    assert (died["pid"], died["status"], died["reason"]) == (victim, -9, "killed")
    eventually(lambda: len(set(served.worker_pids()) - {victim}) == workers)
    wait_until_ready(served, workers)
    assert served.terminate() == 0


def test_a_worker_that_hangs_is_replaced(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, workers=2, WORKER_TIMEOUT="600ms")
    wait_until_ready(served, 2)
    victim = served.worker_pids()[0]
    os.kill(victim, signal.SIGSTOP)
    killed = served.wait_for_log(lambda record: record["message"] == "worker killed")
    assert (killed["pid"], killed["reason"]) == (victim, "hung")
    eventually(lambda: len(set(served.worker_pids()) - {victim}) == 2)
    wait_until_ready(served, 2)
    assert 'restarts_total{reason="hung"} 1.0' in served.admin("GET", "/metrics").text


def test_workers_that_are_well_are_not_taken_for_hanging(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    served = serve(origin, workers=2, WORKER_TIMEOUT="600ms")
    wait_until_ready(served, 2)
    before = served.worker_pids()
    # What is looked for is that nothing happens, over several of its timeouts.
    time.sleep(2)
    # The parent itself held up, as in a machine that was suspended: no reason to kill anybody.
    for pid in (served.process.pid, *before):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    for pid in (served.process.pid, *before):
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert served.worker_pids() == before


def test_workers_that_keep_dying_are_replaced_ever_more_slowly(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    served = serve(origin)
    deaths = []
    for _ in range(4):
        # The answer waits for a worker; its parent has other children, too, for a moment.
        [worker] = served.admin("GET", "/cache/stats").json()["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        deaths.append(time.monotonic())
        eventually(lambda pid=worker["pid"]: pid not in served.worker_pids())  # type: ignore[misc]
    served.admin("GET", "/cache/stats")
    deaths.append(time.monotonic())
    waits = [after - before for before, after in itertools.pairwise(deaths)]
    assert waits[-1] >= 0.8
    assert waits[0] < waits[-1]


def test_a_server_whose_workers_cannot_start_gives_up(origin: ScriptedOrigin) -> None:
    broken = (
        "import sys; sys.argv = ['manage.py', 'serve']; import manage\n"
        "import proxy.server.children as c; c.work = None\n"
        "manage.main()\n"
    )
    with pytest.raises(RuntimeError, match=r"status 1[^$]*did not start"):
        Served(
            origin.environ()
            | {"WEB_CONCURRENCY": "2", "DJANGO_SETTINGS_MODULE": "s3proxy_site.settings"},
            command=(sys.executable, "-c", broken),
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_hang_up_replaces_all_workers_without_a_failed_answer(
    serve: Serve, origin: ScriptedOrigin, workers: int
) -> None:
    origin.default(respond(200, BODY))
    served = serve(origin, workers=workers, ACCESS_LOG="off")
    wait_until_ready(served, workers)
    with Load(served.port, "/a", BODY) as load:
        for _ in range(4):
            before = set(served.worker_pids())
            asked = load.answers
            served.process.send_signal(signal.SIGHUP)
            eventually(
                lambda before=before: (  # type: ignore[misc]
                    len(now := set(served.worker_pids())) == workers and not now & before
                ),
                15,
            )
            eventually(lambda asked=asked: load.answers > asked + 20)  # type: ignore[misc]
    assert load.errors == []
    assert load.answers > 100
    text = served.admin("GET", "/metrics").text
    assert f'restarts_total{{reason="reload"}} {4.0 * workers}' in text
    assert served.terminate() == 0
    assert "Traceback" not in served.output


def test_a_connection_accepted_before_the_end_is_answered(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    origin.default(respond(200, BODY))
    # uvicorn's own lines are for debugging.
    served = serve(origin, LOG_LEVEL="debug")
    [old] = served.worker_pids()
    with RawConnection("127.0.0.1", served.port) as early:
        eventually(lambda: _has_accepted(old))
        served.process.send_signal(signal.SIGHUP)
        served.wait_for_log(
            lambda record: (
                record["message"] == "Shutting down"
                or (record.get("message") == "worker started" and record["pid"] != old)
            )
        )
        early.get("/a")
        assert early.read_response().body == BODY


def _has_accepted(pid: int) -> bool:
    return _sockets(pid) > 1


def _sockets(pid: int) -> int:
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(link.readlink()).startswith("socket:")
    return found


def test_signals_for_nobody_are_ignored(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, workers=2)
    wait_until_ready(served, 2)
    before = served.worker_pids()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        for pid in (served.process.pid, *before):
            os.kill(pid, number)
    for pid in before:
        os.kill(pid, signal.SIGHUP)
    assert served.get("/healthz").status_code == 200
    assert served.worker_pids() == before


def test_workers_go_when_their_parent_is_killed(serve: Serve, origin: ScriptedOrigin) -> None:
    served = serve(origin, workers=2)
    wait_until_ready(served, 2)
    workers = served.worker_pids()
    os.kill(served.process.pid, signal.SIGKILL)
    assert served.process.wait(5) == -9
    eventually(lambda: not any(map(alive, workers)))
    assert refuses(served)


def test_a_worker_that_does_not_stop_is_killed_in_the_end(
    serve: Serve, origin: ScriptedOrigin
) -> None:
    served = serve(origin, workers=2, DRAIN_TIMEOUT="0s")
    wait_until_ready(served, 2)
    os.kill(served.worker_pids()[0], signal.SIGSTOP)
    assert served.terminate(15) == 0
    assert "did not stop in time" in served.output


def test_orphans_are_reaped_by_the_first_process(origin: ScriptedOrigin, tmp_path: Path) -> None:
    """As in a container: the server is process 1, and inherits who lost its parent."""
    port = free_ports(1)[0]
    environ = {
        **{name: value for name, value in os.environ.items() if name == "PATH"},
        **origin.environ(),
        "AUTH_TOKEN": "token-of-sixteen-chars",
        "WEB_CONCURRENCY": "2",
        "SERVER_ADDR": f"127.0.0.1:{port}",
    }
    # Becomes the reaper of all that it has below it, and leaves an orphan behind.
    code = (
        "import ctypes, os, sys, time\n"
        "assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(1)\n"
        "        os._exit(3)\n"
        "    os._exit(0)\n"
        f"os.execv(sys.executable, {list(SERVE)!r})\n"
    )
    with (tmp_path / "out").open("wb") as out, subprocess.Popen(
        (sys.executable, "-c", code), cwd=ROOT, env=environ, stdout=out, stderr=out,
        start_new_session=True,
    ) as process:  # fmt: skip
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            eventually(lambda: _answers(port), 15)
            eventually(lambda: len(children.read_text().split()) == 2)
            process.terminate()
            assert process.wait(10) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), RawConnection("127.0.0.1", port) as client:
        client.get("/healthz")
        return client.read_response().status == 200
    return False


@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_connections_are_shared_evenly(serve: Serve, origin: ScriptedOrigin, pause: float) -> None:
    served = serve(origin, workers=2)
    wait_until_ready(served, 2)
    pids = served.worker_pids()
    before = [_sockets(pid) for pid in pids]
    with contextlib.ExitStack() as opened:
        for _ in range(32):
            opened.enter_context(RawConnection("127.0.0.1", served.port))
            time.sleep(pause)

        def taken() -> list[int]:
            return [_sockets(pid) - old for pid, old in zip(pids, before, strict=True)]

        eventually(lambda: sum(taken()) >= 32)
        assert min(taken()) >= 10


def test_a_worker_that_dies_while_another_is_stopped_with_the_lock_is_no_end(
    origin: ScriptedOrigin,
) -> None:
    """Cleaning up after the dead one waits for the lock, which only the parent can free."""
    environ = {"WORKER_TIMEOUT": "3s", "WEB_CONCURRENCY": "2"}
    with Served(origin.environ() | environ, command=STOPPING_AT_A_KEY) as served:
        workers = served.worker_pids()
        with contextlib.closing(socket.create_connection(("127.0.0.1", served.port))) as client:
            client.sendall(b"GET /stop HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: any(state_of(pid) == "T" for pid in workers))
            [other] = [pid for pid in workers if state_of(pid) != "T"]
            os.kill(other, signal.SIGKILL)
            eventually(lambda: not set(workers) & set(served.worker_pids()), within=15)
        eventually(lambda: len(served.worker_pids()) == 2, within=15)
        assert served.get("/healthz").status_code == 200


def test_a_fork_that_fails_is_tried_again(origin: ScriptedOrigin, tmp_path: Path) -> None:
    flag = tmp_path / "no-fork"
    code = (
        "import errno, os, sys; sys.argv = ['manage.py', 'serve']\n"
        "fork = os.fork\n"
        "def limited():\n"
        f"    if os.path.exists({str(flag)!r}): raise BlockingIOError(errno.EAGAIN, 'limit')\n"
        "    return fork()\n"
        "os.fork = limited\n"
        "import manage; manage.main()\n"
    )
    environ = {"WEB_CONCURRENCY": "2"}
    with Served(origin.environ() | environ, command=(sys.executable, "-c", code)) as served:
        first, other = served.worker_pids()
        flag.touch()
        os.kill(first, signal.SIGKILL)
        served.wait_for_line("no process for a worker")
        assert served.process.poll() is None
        assert served.worker_pids() == [other]
        flag.unlink()
        eventually(lambda: len(served.worker_pids()) == 2, within=15)


def test_closed_standard_streams_are_no_door_to_what_is_shared(origin: ScriptedOrigin) -> None:
    code = (
        "import os, sys; os.close(1); os.close(2)\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, 'manage.py', 'serve'])\n"
    )
    with Served(origin.environ(), command=(sys.executable, "-c", code)) as served:
        for pid in (served.process.pid, *served.worker_pids()):
            streams = [Path(f"/proc/{pid}/fd/{number}").readlink() for number in (1, 2)]
            assert streams == [Path(os.devnull)] * 2
