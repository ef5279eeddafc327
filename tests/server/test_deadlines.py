"""READ_TIMEOUT, WRITE_TIMEOUT and IDLE_TIMEOUT, kept to within a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import ScriptedOrigin, conditional, hold, pause, respond
from tests.raw_http import NoResponse, RawConnection
from tests.served.process import Served
from tests.server.conversation import eventually, request
from tests.server.process_state import holds, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raw_http import OpenRaw

READ, WRITE, IDLE = 0.5, 0.8, 1.5
LARGE = b"0123456789abcdef" * 2**20  # MAX_OBJECT_SIZE
MIB = 2**20


@pytest.fixture(scope="module")
def large_origin() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello"))
        origin.on("large", respond(200, LARGE))
        yield origin


@pytest.fixture(scope="module")
def impatient(large_origin: ScriptedOrigin) -> Iterator[Served]:
    """A proxy with short deadlines that has `/large` in memory."""
    environ = large_origin.environ() | {
        "READ_TIMEOUT": f"{READ * 1000:.0f}ms",
        "WRITE_TIMEOUT": f"{WRITE * 1000:.0f}ms",
        "IDLE_TIMEOUT": f"{IDLE * 1000:.0f}ms",
    }
    with Served(environ) as served:
        assert served.get("/large").content == LARGE
        yield served


def seconds_until_closed(client: RawConnection, since: float) -> float:
    assert client.read_eof()
    return time.monotonic() - since


def test_a_client_that_sends_nothing_is_closed(impatient: Served, raw: OpenRaw) -> None:
    client = raw(impatient.port)
    assert READ - 0.1 < seconds_until_closed(client, time.monotonic()) < READ + 1


@pytest.mark.parametrize("asked", [0, 3])
def test_a_head_that_stops_halfway_is_timed_out(
    impatient: Served, raw: OpenRaw, asked: int
) -> None:
    client = raw(impatient.port)
    for _ in range(asked):
        client.send(request("/known"))
        client.read_response()
    started = time.monotonic()
    client.send(b"GET /a HTTP/1.1\r\nHo")
    answer = client.read_response()
    assert (answer.status, answer.header("Connection")) == (408, b"close")
    assert READ - 0.1 < seconds_until_closed(client, started) < READ + 1


@pytest.mark.parametrize("requests_before", [0, 1])
def test_a_head_that_is_dripped_is_timed_out(
    impatient: Served, raw: OpenRaw, requests_before: int
) -> None:
    client = raw(impatient.port)
    for _ in range(requests_before):
        client.send(request())
        client.read_response()
    started = time.monotonic()
    client.timeout = 0.05
    for byte in request("/" + "a" * 1000):
        try:
            client.send(bytes([byte]))
            answer = client.read_response()
        except TimeoutError:
            continue
        break
    assert answer.status == 408
    assert READ - 0.1 < time.monotonic() - started < READ + 1


def test_line_ends_do_not_keep_a_connection_open(impatient: Served, raw: OpenRaw) -> None:
    client = raw(impatient.port)
    client.send(request())
    client.read_response()
    started = time.monotonic()
    client.timeout = 0.1
    while time.monotonic() - started < READ + 1:
        try:
            client.send(b"\r\n")
            client.read_response()
        except TimeoutError:
            continue
        except (NoResponse, ConnectionError):
            break
        # A 408 is as good.
        break
    assert READ - 0.1 < time.monotonic() - started < READ + 1


def test_the_rest_of_a_body_that_nobody_reads_may_not_be_dripped(
    impatient: Served, raw: OpenRaw
) -> None:
    client = raw(impatient.port)
    client.send(request("/a", "Content-Length: 100"))
    assert client.read_response().status == 200
    started = time.monotonic()
    ended = False
    while not ended and time.monotonic() - started < READ + 1:
        client.send(b"x")
        ended = client.read_eof(timeout=0.1)
    assert ended
    assert READ - 0.1 < time.monotonic() - started < READ + 1


def test_a_refused_client_cannot_keep_its_connection(impatient: Served, raw: OpenRaw) -> None:
    client = raw(impatient.port)
    client.send(b"garbage\r\n\r\n")
    assert client.read_response().status == 400
    assert client.read_eof()
    # Our side is ended at once; that the client's is not does not hold the socket for long.
    assert holds(impatient, client)
    eventually(lambda: not holds(impatient, client), within=READ + 1)


# The second is a hit, the third one whose head is known.
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_an_idle_connection_is_closed(impatient: Served, raw: OpenRaw, asked: int) -> None:
    client = raw(impatient.port)
    for _ in range(asked):
        client.send(request(f"/idle-{asked}"))
        client.read_response()
    started = time.monotonic()
    assert IDLE - 0.1 < seconds_until_closed(client, started) < IDLE + 1


def test_time_that_the_origin_takes_is_not_the_clients(
    impatient: Served, large_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    gate = large_origin.gate()
    large_origin.on("slow", hold(gate), respond(200, b"slow"))
    client = raw(impatient.port)
    client.send(request("/slow"))
    assert not client.read_eof(timeout=IDLE + 0.3)
    gate.open()
    assert client.read_response().body == b"slow"


def test_time_that_the_origin_takes_behind_an_answer_at_once_is_not_the_clients(
    impatient: Served, raw: OpenRaw, large_origin: ScriptedOrigin
) -> None:
    large_origin.on("slow-behind", pause(IDLE + 0.7), respond(200, b"late"))
    impatient.get("/known")
    client = raw(impatient.port)
    client.send(request("/known") + request("/slow-behind"))
    assert client.read_response().header("X-Cache") == b"HIT"
    assert client.read_response().body == b"late"


def test_a_reader_that_stops_is_aborted(impatient: Served, raw: OpenRaw) -> None:
    client = raw(impatient.port, receive_buffer=65536)
    client.send(request("/large"))
    client.read_head()
    started = time.monotonic()
    eventually(lambda: not holds(impatient, client), within=WRITE + 3)
    assert WRITE - 0.1 < time.monotonic() - started < WRITE + 1
    assert len(client.read_exactly(len(LARGE))) < len(LARGE)
    assert client.was_reset


def test_a_slow_but_steady_reader_gets_everything(impatient: Served, raw: OpenRaw) -> None:
    client = raw(impatient.port, receive_buffer=65536)
    client.send(request("/large"))
    client.read_head()
    started = time.monotonic()
    received = 0
    pause = 3.5 * WRITE / (len(LARGE) / (256 * 1024))
    while received < len(LARGE):
        piece = client.read_exactly(256 * 1024)
        assert piece, f"cut off after {received} bytes"
        received += len(piece)
        time.sleep(pause)  # what makes the reader slow, not a wait for anything
    assert time.monotonic() - started > 3 * WRITE
    client.send(request("/a"))
    assert client.read_response().status == 200


def test_readers_of_one_object_that_stop_share_its_memory(impatient: Served, raw: OpenRaw) -> None:
    before = resident_bytes(impatient)
    stalled = [raw(impatient.port, receive_buffer=65536) for _ in range(50)]
    for client in stalled:
        client.send(request("/large"))
    for client in stalled:
        client.read_head()
    # Fifty copies would be 800 MiB.
    assert resident_bytes(impatient) - before < 64 * MIB
    # The proxy goes on meanwhile, and is rid of them soon.
    assert impatient.get("/a").status_code == 200
    eventually(lambda: not any(holds(impatient, client) for client in stalled), within=WRITE + 3)
    assert resident_bytes(impatient) - before < 64 * MIB


def test_readers_of_an_object_too_large_to_store_hold_little_each(
    impatient: Served, large_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    large_origin.on("larger", conditional(LARGE * 3, '"v"'))
    before = resident_bytes(impatient)
    stalled = [raw(impatient.port, receive_buffer=65536) for _ in range(10)]
    for client in stalled:
        client.send(request("/larger"))
    for client in stalled:
        client.read_head()
    # Ten copies would be 480 MiB.
    assert resident_bytes(impatient) - before < 64 * MIB
    eventually(lambda: not any(holds(impatient, client) for client in stalled), within=WRITE + 3)
    assert resident_bytes(impatient) - before < 64 * MIB
    # Nor is the origin asked on for readers that have gone.
    asked = large_origin.count("larger")
    assert impatient.request("HEAD", "/larger").headers["Content-Length"] == str(3 * len(LARGE))
    assert large_origin.count("larger") == asked
