"""The table of what faulty clients send: each fault answered, nobody else affected."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.hostile.cases import FAULTS, Fault
from tests.origins import ScriptedOrigin, respond
from tests.raw_http import NoResponse, RawConnection
from tests.served.process import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raw_http import RawResponse

# None of these needs more than some milliseconds.
LONGEST = 2.0


@pytest.fixture(scope="module")
def plain_origin() -> Iterator[ScriptedOrigin]:
    with ScriptedOrigin() as origin:
        origin.default(respond(200, b"hello", {"ETag": '"e"', "Content-Type": "text/plain"}))
        yield origin


@pytest.fixture(scope="module")
def plain(plain_origin: ScriptedOrigin) -> Iterator[Served]:
    with Served(plain_origin.environ()) as served:
        yield served


def conversation(served: Served, fault: Fault) -> tuple[list[RawResponse], bool]:
    """The answers to a fault; did the server end the connection behind them?"""
    answers: list[RawResponse] = []
    methods = ["HEAD"] if fault.sent.startswith(b"HEAD") else []
    with RawConnection("127.0.0.1", served.port, timeout=LONGEST) as client:
        client.send(fault.sent)
        if fault.half_closed:
            client.half_close()
        with contextlib.suppress(NoResponse):
            for _ in range(len(fault.answers) + 1 if fault.closed else len(fault.answers)):
                answer = client.read_response(methods.pop() if methods else "GET")
                # Those before an end that comes early count, too.
                answers.append(answer)
            return answers, client.read_eof(timeout=0.05)
        return answers, True


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_answered_and_the_next_request_works(plain: Served, fault: Fault) -> None:
    began = time.monotonic()
    answers, closed = conversation(plain, fault)
    assert [answer.status for answer in answers] == list(fault.answers)
    assert closed is fault.closed
    assert all(answer.complete for answer in answers)
    assert time.monotonic() - began < LONGEST
    after = plain.get("/a")
    assert (after.status_code, after.content, after.headers["Content-Type"]) == (
        200,
        b"hello",
        "text/plain",
    )
    assert "Traceback" not in plain.output
