"""Requests for objects that take more than memory, answered without the application."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

import pytest

from proxy import conf
from proxy.clients import Clients
from proxy.gateway import Gateway
from proxy.request_counts import RequestCounts
from proxy.server.fast_door import FastDoor
from proxy.server.front import Front, Service
from proxy.server.routes import Routes
from tests.gateway.subject import Proxy
from tests.origins import drip, hold, respond
from tests.server.conversation import request, rest_of
from tests.server.in_process import Sent, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.answer import Answer
    from proxy.core.messages import Request
    from proxy.store import Found, Sighting
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve, Served


class Defective(Gateway):
    """Knows nothing, and fails where it would have to ask."""

    async def answer(self, request: Request, sighting: Sighting | None = None) -> Answer:
        raise LookupError(f"told in the log alone: {request.key}")


@pytest.fixture
async def subject(origin: ScriptedOrigin) -> AsyncIterator[Proxy]:
    origin.default(respond(200, b"hello", {"Cache-Control": "max-age=600"}))
    async with Proxy(origin.endpoint) as subject:
        yield subject


def front(gateway: Gateway) -> Front:
    service = Service(gateway, Routes(), RequestCounts())
    return Front(FastDoor(gateway, ""), Clients(conf.config()), None, True, None, service)


async def answered(transport: Sent, times: int = 1) -> list[bytes]:
    async with asyncio.timeout(5):
        while len(transport.packets) < times:
            await asyncio.sleep(0.001)
    return transport.packets


async def test_the_application_is_not_asked_for_an_object(subject: Proxy) -> None:
    protocol, transport = connected(front(subject.gateway))
    protocol.data_received(request("/a"))
    [packet] = await answered(transport)
    assert packet.startswith(b"HTTP/1.1 200 OK\r\n")
    assert packet.endswith(b"\r\n\r\nhello")
    assert b"\r\nx-cache: MISS\r\n" in packet
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "target",
    [
        "/healthz",
        "/%68ealthz",
        "/cache/stats",
        "/cache/anything",
        "http://test/a",
        "/a/../b",
        "/",
    ],
)
async def test_the_application_is_asked_for_everything_else(subject: Proxy, target: str) -> None:
    before = subject.gateway
    protocol, transport = connected(front(before))
    protocol.data_received(request(target))
    # The one of this test says nothing, which uvicorn makes an error of.
    [packet, *_] = await answered(transport)
    assert re.match(rb"HTTP/1.1 (500|400) ", packet)
    assert b"x-cache" not in packet
    protocol.connection_lost(None)


async def test_a_defect_is_an_error_for_the_client_and_a_traceback_in_the_log(
    subject: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    defective = Defective.__new__(Defective)
    defective.__dict__.update(subject.gateway.__dict__)
    protocol, transport = connected(front(defective))
    for number in (1, 2):
        protocol.data_received(request("/a"))
        packets = await answered(transport, number)
    assert all(packet.startswith(b"HTTP/1.1 500 Internal Server Error\r\n") for packet in packets)
    assert b"told" not in b"".join(packets)
    told = [record for record in caplog.records if record.exc_info]
    assert ["LookupError" in str(record.exc_info) for record in told] == [True, True]
    protocol.connection_lost(None)


async def test_a_client_that_has_gone_at_once_is_logged_and_asks_for_nothing(
    subject: Proxy, origin: ScriptedOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "s3proxy.access")
    protocol, transport = connected(front(subject.gateway))
    protocol.data_received(request("/a"))
    protocol.connection_lost(ConnectionResetError())
    async with asyncio.timeout(5):
        while not caplog.records:
            await asyncio.sleep(0.001)
    assert [record.__dict__.get("status") for record in caplog.records] == [499]
    assert transport.packets == []
    assert not origin.requests


@pytest.mark.parametrize("is_rest_known", [False, True])
async def test_what_was_seen_in_memory_is_not_looked_up_again(
    subject: Proxy, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch, is_rest_known: bool
) -> None:
    origin.on("a", respond(200, b"varies", {"Cache-Control": "max-age=600", "Vary": "X"}))
    await subject.get("a")
    await subject.idle()
    await subject.get("plain")
    await subject.idle()
    looked_up = []
    look_up = subject.store.look_up

    def watched(key: str) -> Found | None:
        looked_up.append(key)
        return look_up(key)

    monkeypatch.setattr(subject.store, "look_up", watched)
    protocol, transport = connected(front(subject.gateway))
    for _ in range(3 if is_rest_known else 0):
        # All but the first line of the next head.
        protocol.data_received(request("/plain"))
    looked_up.clear()
    protocol.data_received(request("/a"))
    *_, packet = await answered(transport, 4 if is_rest_known else 1)
    assert packet.endswith(b"varies")
    assert looked_up == ["a"]
    protocol.connection_lost(None)


async def test_what_is_purged_before_its_turn_is_not_sent(
    subject: Proxy, origin: ScriptedOrigin
) -> None:
    origin.on("a", respond(200, b"old", {"Cache-Control": "max-age=600", "Vary": "X"}))
    await subject.get("a")
    await subject.idle()
    protocol, transport = connected(front(subject.gateway))
    protocol.data_received(request("/a"))
    # The look-up was made, and the rest of it has not begun.
    origin.on("a", respond(200, b"new"))
    assert await subject.purge("a") == 1
    [packet] = await answered(transport)
    assert packet.endswith(b"\r\n\r\nnew")
    protocol.connection_lost(None)


@pytest.mark.parametrize("stored", [False, True], ids=["a miss", "a hit"])
async def test_a_client_that_takes_nothing_is_written_nothing(subject: Proxy, stored: bool) -> None:
    if stored:
        await subject.get("a")
    protocol, transport = connected(front(subject.gateway))
    protocol.pause_writing()
    protocol.data_received(request("/a"))
    for _ in range(50):
        await asyncio.sleep(0.002)
        assert not transport.packets
    protocol.resume_writing()
    [packet] = await answered(transport)
    assert packet.endswith(b"\r\n\r\nhello")
    protocol.connection_lost(None)


def test_a_connection_goes_on_behind_each_kind_of_answer(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    body = b"0123456789abcdef" * 65536
    origin.on("whole", respond(200, b"hello"))
    origin.on("stream", respond(200, body))
    origin.on("chunks", respond(200, body, chunked=True))
    served = serve(origin, CACHE_TTL="0s")
    client = raw(served.port)
    for method in ("GET", "HEAD"):
        for key, expected in (("whole", b"hello"), ("stream", body), ("chunks", body)):
            client.send(request(f"/{key}", method=method))
            answer = client.read_response(method)
            assert (answer.status, answer.complete) == (200, True)
            assert answer.body == (expected if method == "GET" else b"")
    client.send(request("/stream") + request("/whole") + request("/whole", "Connection: close"))
    assert [answer.body for answer in rest_of(client)] == [body, b"hello", b"hello"]


@pytest.mark.parametrize("limit", ["0", "1000"])
def test_connections_that_close_each_time(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw, limit: str
) -> None:
    origin.on("a", respond(200, b"hello", {"Cache-Control": "max-age=600"}))
    served = serve(origin, RATE_LIMIT_RPS=limit)
    seen = []
    for _ in range(3):
        client = raw(served.port)
        client.send(request("/a", "Connection: close"))
        [answer] = rest_of(client)
        assert (answer.body, answer.header("Connection")) == (b"hello", b"close")
        seen.append(answer.header("X-Cache"))
    assert seen == [b"MISS", b"HIT", b"HIT"]


def test_a_limit_counts_every_way_alike(serve: Serve, origin: ScriptedOrigin, raw: OpenRaw) -> None:
    origin.default(respond(200, b"hello", {"Cache-Control": "max-age=600"}))
    # Ten requests in a window of ten seconds.
    served = serve(origin, RATE_LIMIT_RPS="1")
    client = raw(served.port)
    statuses = []
    for number in range(40):
        client.send(request(f"/{number // 4}", method="POST" if number % 4 == 3 else "GET"))
        statuses.append(client.read_response().status)
    admitted = [status for status in statuses if status != 429]
    # The clock may begin a second window under the test.
    assert len(admitted) in {1, 2, 10, 20}


def test_a_client_that_leaves_before_its_answer_is_499_everywhere(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    gate = origin.gate()
    origin.on("a", hold(gate), respond(200, b"hello"))
    served = serve(origin)
    client = raw(served.port)
    client.send(request("/a?token=secret"))
    origin.wait_for(1, "a")
    client.reset()
    line = served.wait_for_log(lambda record: record.get("path") == "/a")
    assert (line["status"], line["bytes"], line["client"]) == (499, 0, "127.0.0.1")
    family = "django_http_responses_total_by_status_view_method_total"
    told = f'{family}{{method="GET",status="499",view="object"}} 1.0'
    assert told in served.admin("GET", "/metrics").text
    gate.open()


def test_a_client_that_leaves_a_stream_is_counted_once(
    serve: Serve, origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    origin.on("a", drip(b"0123456789abcdef" * 65536, 4096, interval=0.01))
    served = serve(origin)
    client = raw(served.port)
    client.send(request("/a"))
    client.read_head()
    client.read_exactly(5000)
    client.reset()
    line = served.wait_for_log(lambda record: record.get("path") == "/a")
    assert (line["status"], line["complete"], line["cache"]) == (200, False, "MISS")
    assert 5000 <= line["bytes"] < 2**20
    assert left(served) == 1


def left(served: Served) -> float:
    text = served.admin("GET", "/metrics").text
    lines = text.splitlines()
    [line] = [line for line in lines if line.startswith("proxy_client_disconnects_total ")]
    return float(line.rpartition(" ")[2])
