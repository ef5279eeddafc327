"""S3_MAX_CONCURRENCY of a running proxy: who waits, who is refused, who goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.metrics import Counters
from tests.origins import ScriptedOrigin, hold, respond
from tests.served.process import Served
from tests.server.conversation import eventually, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.origins import Gate
    from tests.raw_http import OpenRaw


@pytest.fixture
def gate(origin: ScriptedOrigin) -> Gate:
    gate = origin.gate()
    origin.default(hold(gate), respond(body=b"x"))
    return gate


@pytest.fixture
def proxy(origin: ScriptedOrigin) -> Iterator[Served]:
    with Served(origin.environ() | {"S3_MAX_CONCURRENCY": "1"}) as served:
        yield served


def waiting(proxy: Served) -> float:
    return Counters(proxy).gauge("proxy_origin_waiting")


def test_clients_that_go_away_leave_the_line_and_who_comes_after_is_served(
    proxy: Served, origin: ScriptedOrigin, gate: Gate, raw: OpenRaw
) -> None:
    first = raw(proxy.port)
    first.send(request("/first"))
    origin.wait_for(1, "first")
    leaving = [raw(proxy.port) for _ in range(4)]
    for number, client in enumerate(leaving):
        client.send(request(f"/leaving-{number}"))
    eventually(lambda: waiting(proxy) == 4)
    assert Counters(proxy).gauge("proxy_origin_under_way") == 1
    for client in leaving:
        # An end by FIN alone is no departure: who has asked may close its own direction.
        client.reset()
    eventually(lambda: waiting(proxy) == 0)
    proxy.wait_for_log(lambda record: record.get("path") == "/leaving-0")
    last = raw(proxy.port)
    last.send(request("/last"))
    eventually(lambda: waiting(proxy) == 1)
    gate.open()
    assert first.read_response().status == 200
    assert last.read_response().status == 200
    assert [r.key for r in origin.requests] == ["first", "last"]
    left = [record for record in proxy.json_lines() if "/leaving" in str(record.get("path"))]
    assert {record["status"] for record in left} == {499}
    assert "Traceback" not in proxy.output


def test_one_of_several_clients_that_goes_away_takes_nobody_out_of_the_line(
    proxy: Served, origin: ScriptedOrigin, gate: Gate, raw: OpenRaw
) -> None:
    first = raw(proxy.port)
    first.send(request("/first"))
    origin.wait_for(1, "first")
    one, other = raw(proxy.port), raw(proxy.port)
    for client in (one, other):
        client.send(request("/shared"))
    eventually(lambda: waiting(proxy) == 1)
    one.reset()
    proxy.wait_for_log(lambda record: record.get("status") == 499)
    gate.open()
    assert other.read_response().body == b"x"


def test_beyond_the_line_503_with_retry_after(
    proxy: Served, origin: ScriptedOrigin, gate: Gate, raw: OpenRaw
) -> None:
    origin.on("stored", respond(body=b"stored"))
    assert proxy.get("/stored").status_code == 200
    clients = [raw(proxy.port) for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(request(f"/key-{number}"))
    eventually(lambda: waiting(proxy) == 4)
    before = Counters(proxy)
    refused = proxy.get("/one-too-many")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "detail=origin-saturated" in refused.headers["Cache-Status"]
    counted = Counters(proxy) - before
    assert counted.by_label("proxy_origin_refused_total", "cause") == {"line_full": 1}
    assert counted.by_label("proxy_origin_errors_total", "reason") == {"origin-saturated": 1}
    record = proxy.wait_for_log(lambda record: record.get("reason") == "origin-saturated")
    assert record["variable"] == "S3_MAX_CONCURRENCY"
    # What is stored needs no origin, nor do the admin's questions.
    assert proxy.get("/stored").headers["X-Cache"] == "HIT"
    assert proxy.get("/healthz").status_code == 200
    gate.open()
    assert {client.read_response().status for client in clients} == {200}
    assert proxy.get("/one-too-many").status_code == 200
