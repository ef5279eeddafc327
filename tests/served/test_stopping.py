"""SIGTERM and SIGINT: no new work, the running work finished in bounded time, status 0."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import black_hole, drip, hold, respond
from tests.raw_http import RawConnection

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve, Served

BODY = b"0123456789abcdef" * 65536


def refuses(served: Served, within: float = 2.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            RawConnection("127.0.0.1", served.port).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once_with_status_0(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw, number: signal.Signals
) -> None:
    origin.on("a", respond(200, b"hello"))
    served = serve(origin)
    silent, idle = raw(served.port), raw(served.port)
    idle.get("/a")
    idle.read_response()
    started = time.monotonic()
    served.process.send_signal(number)
    assert served.wait(5) == 0
    assert time.monotonic() - started < 2
    assert silent.read_eof()
    assert idle.read_eof()
    assert "Traceback" not in served.output
    assert "Unclosed" not in served.output


def test_running_downloads_finish_while_nothing_new_is_accepted(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    gate = origin.gate()
    origin.on("slow", drip(BODY, 2**18, gate=gate))
    origin.on("waiting", hold(gate), respond(200, b"late"))
    origin.on("hit", respond(200, BODY * 16))
    served = serve(origin)
    assert served.get("/hit").content == BODY * 16
    slow, waiting = raw(served.port), raw(served.port)
    stalled = raw(served.port, receive_buffer=65536)
    slow.get("/slow")
    slow.read_head()
    waiting.get("/waiting")
    stalled.get("/hit")
    stalled.read_head()
    origin.wait_for(1, "waiting")
    served.process.terminate()
    assert refuses(served)
    served.process.terminate()
    assert served.process.poll() is None
    gate.open()
    assert slow.read_exactly(len(BODY)) == BODY
    answer = waiting.read_response()
    assert (answer.body, answer.header("Connection")) == (b"late", b"close")
    assert stalled.read_exactly(16 * len(BODY)) == BODY * 16
    assert served.wait(5) == 0
    assert "Traceback" not in served.output
    assert "Unclosed" not in served.output


def test_waiting_for_running_downloads_is_bounded(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("slow", drip(BODY, 1000, interval=0.2))
    origin.on("waiting", hold(origin.gate()))
    served = serve(origin, DRAIN_TIMEOUT="1s")
    slow, waiting = raw(served.port), raw(served.port)
    slow.get("/slow")
    slow.read_head()
    waiting.get("/waiting")
    origin.wait_for(1, "waiting")
    started = time.monotonic()
    assert served.terminate() == 0
    assert 0.9 < time.monotonic() - started < 3
    assert len(slow.read_exactly(len(BODY))) < len(BODY)
    assert slow.was_reset
    answer = waiting.read_response()
    assert (answer.status, answer.header("Connection")) == (503, b"close")
    assert waiting.read_eof()
    assert "Traceback" not in served.output
    assert "Unclosed" not in served.output


def test_a_second_interrupt_does_not_wait(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("slow", drip(BODY, 1000, interval=0.2))
    served = serve(origin)
    client = raw(served.port)
    client.get("/slow")
    client.read_head()
    served.process.send_signal(signal.SIGINT)
    assert refuses(served)
    started = time.monotonic()
    served.process.send_signal(signal.SIGINT)
    assert served.wait(5) == 0
    assert time.monotonic() - started < 2
    assert "Traceback" not in served.output
    assert "Unclosed" not in served.output


def test_a_look_up_that_hangs_does_not_hold_up_the_end(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("", black_hole())
    served = serve(origin, S3_REGION="auto", DRAIN_TIMEOUT="500ms")
    raw(served.port).get("/a")
    origin.wait_for(1)
    began = time.monotonic()
    assert served.terminate() == 0
    assert time.monotonic() - began < 5
