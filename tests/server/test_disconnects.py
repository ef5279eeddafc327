"""Clients that leave, origins that break off: who is told, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, conditional, cut_after, drip, hold, respond, sequence
from tests.raw_http import NoResponse, RawConnection
from tests.served.process import Served
from tests.server.conversation import eventually, request
from tests.server.process_state import clients_of, holds, open_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.origins import Step
    from tests.raw_http import OpenRaw

BODY = b"0123456789abcdef" * 65536


@pytest.fixture(scope="module")
def proxy(module_origin: ScriptedOrigin) -> Iterator[Served]:
    """Keeps no object over 2 MiB, gives up a silent origin after two seconds."""
    environ = {"MAX_OBJECT_SIZE": "2MiB", "REQUEST_TIMEOUT": "2s", "S3_RETRIES": "0"}
    with Served(module_origin.environ() | environ) as served:
        yield served


def close(client: RawConnection) -> None:
    client.close()


def reset(client: RawConnection) -> None:
    client.reset()


def origin_errors(proxy: Served) -> float:
    text = proxy.admin("GET", "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("proxy_origin_errors_total")]
    assert lines
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def complaints(proxy: Served) -> list[str]:
    """Log lines beyond INFO, and whatever is no log line at all."""
    quiet = [line for line in proxy.lines if '"level": "INFO"' in line]
    return [line for line in proxy.lines if line not in quiet]


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize(
    "stage",
    [
        "in the head",
        "before the answer",
        "in a miss",
        "in a large object",
        "in a range of it",
        "in a hit",
    ],
)
def test_a_client_that_leaves_is_no_error_and_leaves_nothing_behind(
    proxy: Served,
    module_origin: ScriptedOrigin,
    leave: Callable[[RawConnection], None],
    stage: str,
) -> None:
    errors, complained = origin_errors(proxy), complaints(proxy)
    key = f"{stage}-{leave.__name__}".replace(" ", "-")
    gate = module_origin.gate()
    steps: dict[str, tuple[Step, ...]] = {
        "before the answer": (hold(gate), respond(200, b"late")),
        "in a miss": (drip(BODY, 4096, interval=0.001),),
        "in a large object": (drip(BODY * 8, 65536, interval=0.002),),
        "in a range of it": (conditional(BODY * 8, '"v"'),),
        "in a hit": (respond(200, BODY),),
    }
    module_origin.on(key, *steps.get(stage, ()))
    fields = ("Range: bytes=100-",) if stage == "in a range of it" else ()
    if stage == "in a hit":
        assert proxy.get(f"/{key}").content == BODY
    eventually_idle(proxy)
    client = RawConnection("127.0.0.1", proxy.port, receive_buffer=65536)
    if stage == "in the head":
        client.send(request(f"/{key}")[:-1])
    else:
        client.send(request(f"/{key}", *fields))
    if stage == "before the answer":
        module_origin.wait_for(1, key)
    elif stage != "in the head":
        client.read_head()
        client.read_exactly(1000)
    eventually(lambda: holds(proxy, client))
    leave(client)
    gate.open()
    eventually_idle(proxy)
    assert origin_errors(proxy) == errors
    assert complaints(proxy) == complained
    if stage != "in the head":
        module_origin.on(key, respond(200, b"again"))
        assert proxy.get(f"/{key}").status_code == 200


def eventually_idle(proxy: Served) -> None:
    """Waits until no client is connected but the one that may be kept in `proxy.client`."""
    eventually(lambda: clients_of(proxy) <= 1)


@pytest.mark.parametrize("waits", [True, False], ids=["before the answer", "within it"])
@pytest.mark.parametrize("leaver", [0, 1], ids=["the first leaves", "a follower leaves"])
@pytest.mark.parametrize("size", [1, 8], ids=["stored", "too large to store"])
def test_whoever_reads_along_goes_on_when_another_leaves(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, leaver: int, size: int, waits: bool
) -> None:
    key = f"shared-{leaver}-{size}-{waits}"
    gate = module_origin.gate()
    whole = BODY * size
    module_origin.on(key, hold(gate), conditional(whole, '"v"'))
    readers = [raw(proxy.port) for _ in range(3)]
    for reader in readers:
        reader.send(request(f"/{key}"))
    module_origin.wait_for(1, key)
    if waits:
        before = clients_of(proxy)
        readers[leaver].reset()
        eventually(lambda: clients_of(proxy) < before)
        gate.open()
    else:
        gate.open()
        readers[leaver].read_head()
        readers[leaver].reset()
    for reader in readers:
        if reader is not readers[leaver]:
            answer = reader.read_response()
            assert (answer.status, answer.body == whole, answer.complete) == (200, True, True)
    if size == 1:
        assert module_origin.count(key) == 1


BROKEN = {
    "cut off": cut_after(100_000, respond(200, BODY)),
    "reset": cut_after(100_000, respond(200, BODY), reset=True),
    "shorter than announced": respond(200, BODY[:100_000], content_length=len(BODY)),
    "a chunk cut off": cut_after(100_000, respond(200, BODY, chunked=True)),
    "the last chunk missing": cut_after(len(BODY), respond(200, BODY, chunked=True)),
    "stalled": drip(BODY, 100_000, interval=30),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_body_that_breaks_off_never_looks_complete_and_is_logged_once(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, name: str, version: str
) -> None:
    key = f"{name}-{version}".replace(" ", "-").replace("/", "")
    module_origin.on(key, sequence(BROKEN[name], respond(200, b"whole")))
    client = raw(proxy.port)
    client.send(request(f"/{key}", version=version))
    with contextlib.suppress(NoResponse):
        assert not client.read_response().complete
    assert client.read_eof()
    assert client.was_reset
    proxy.wait_for_log(lambda record: record.get("path") == f"/{key}")
    told = [record for record in proxy.json_lines() if record.get("key") == key]
    assert [record["level"] for record in told] == ["ERROR"]
    assert told[0]["reason"] in {"broken_body", "timeout"}
    assert "Traceback" not in proxy.output
    again = proxy.get(f"/{key}")
    assert (again.content, again.headers["X-Cache"]) == (b"whole", "MISS")


def test_a_body_that_breaks_off_is_not_complete_in_the_access_log(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    module_origin.on("partial", cut_after(100_000, respond(200, BODY)))
    client = raw(proxy.port)
    client.send(request("/partial"))
    client.read_response()
    record = proxy.wait_for_log(lambda record: record.get("path") == "/partial")
    assert record["complete"] is False
    assert record["status"] == 200
    assert record["bytes"] <= 100_000


@pytest.mark.parametrize("times", [0, 1, 3], ids=["a miss", "a hit", "a known head"])
def test_a_client_that_reset_before_its_small_answer_was_not_served(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw, times: int
) -> None:
    """The server comes to read the request when the reset is there already."""
    key = f"gone-{times}"
    gate = module_origin.gate()
    module_origin.on(key, *(() if times else (hold(gate),)), respond(200, b"small"))
    other = raw(proxy.port)
    for _ in range(times):
        other.send(request(f"/{key}"))
        assert other.read_response().status == 200
    client = RawConnection("127.0.0.1", proxy.port)
    eventually(lambda: holds(proxy, client))
    (worker,) = proxy.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        eventually(lambda: is_stopped(worker))
        client.send(request(f"/{key}"))
        client.reset()
    finally:
        os.kill(worker, signal.SIGCONT)
    record = proxy.wait_for_log(
        lambda record: record.get("path") == f"/{key}" and record["status"] == 499
    )
    assert (record["bytes"], record["cache"], record["method"]) == (0, None, "GET")
    gate.open()


def is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def test_nothing_is_left_open_after_many_clients_left(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    module_origin.on("many", drip(BODY * 8, 65536, interval=0.002))
    eventually_idle(proxy)
    before = open_sockets(proxy)
    for _ in range(3):
        clients = [RawConnection("127.0.0.1", proxy.port) for _ in range(30)]
        for client in clients:
            client.send(request("/many") * 2)
        for client in clients:
            client.read_exactly(10_000)
            client.close()
    eventually_idle(proxy)
    # One connection to the origin may be kept for the next request.
    eventually(lambda: open_sockets(proxy) <= before + 1)
