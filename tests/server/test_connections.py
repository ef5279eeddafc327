"""Persistence, pipelining, half-closed connections: RFC 9112 §9."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.origins import cut_after, drip, hold, respond
from tests.raw_http import RawConnection
from tests.server.conversation import request, responses_until_closed, rest_of
from tests.server.process_state import resident_bytes

if TYPE_CHECKING:
    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Served


def test_a_connection_is_used_again(proxy: Served, raw: OpenRaw) -> None:
    client = raw(proxy.port)
    for _ in range(3):
        client.send(request())
        assert client.read_response().header("Connection") is None


@pytest.mark.parametrize(
    "sent",
    [
        request("/a", "Connection: close"),
        request("/a", "Connection: Close"),
        request("/a", "Connection: x, close"),
        request("/a", version="HTTP/1.0"),
    ],
)
def test_a_connection_that_the_client_wants_closed_is_closed(proxy: Served, sent: bytes) -> None:
    [answer] = responses_until_closed(proxy.port, sent + request("/never"))
    assert (answer.status, answer.header("Connection")) == (200, b"close")


def test_http_1_0_may_not_keep_the_connection(proxy: Served) -> None:
    sent = request("/a", "Connection: keep-alive", version="HTTP/1.0")
    [answer] = responses_until_closed(proxy.port, sent)
    assert (answer.status, answer.header("Connection")) == (200, b"close")


def test_http_1_0_gets_no_chunks(proxy: Served, module_origin: ScriptedOrigin) -> None:
    for key in ("unknown-length", "unknown-length-2"):
        module_origin.on(key, respond(200, b"hello" * 1000, chunked=True))
    [answer] = responses_until_closed(proxy.port, request("/unknown-length", version="HTTP/1.0"))
    assert answer.header("Transfer-Encoding") is None
    assert (answer.body, answer.complete) == (b"hello" * 1000, True)
    [answer] = responses_until_closed(proxy.port, request("/unknown-length-2", "Connection: close"))
    assert answer.header("Transfer-Encoding") == b"chunked"
    assert answer.body == b"hello" * 1000


def test_http_1_0_sees_a_broken_body_reset(proxy: Served, module_origin: ScriptedOrigin) -> None:
    module_origin.on("broken", cut_after(3000, respond(200, b"hello" * 1000, chunked=True)))
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(request("/broken", version="HTTP/1.0"))
        answers = rest_of(client)
        assert client.was_reset
    assert not any(answer.complete for answer in answers)


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ],
    ids=["h2c", "websocket"],
)
def test_an_upgrade_is_ignored(proxy: Served, fields: tuple[str, ...]) -> None:
    [answer] = responses_until_closed(proxy.port, request("/a", *fields))
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.header("Connection") == b"close"


def test_upgrade_without_connection_means_nothing(proxy: Served, raw: OpenRaw) -> None:
    client = raw(proxy.port)
    client.send(request("/a", "Upgrade: h2c") + request("/b"))
    assert [client.read_response().status for _ in range(2)] == [200, 200]


def test_a_body_announced_with_expect_is_not_asked_for(proxy: Served, raw: OpenRaw) -> None:
    client = raw(proxy.port)
    client.send(request("/a", "Expect: 100-continue", "Content-Length: 5"))
    # RFC 9110 §10.1.1: a final status in place of 100.
    assert client.read_response().status == 200
    client.send(b"hello" + request("/b"))
    assert client.read_response().status == 200


def test_expect_without_a_body_is_answered(proxy: Served, raw: OpenRaw) -> None:
    client = raw(proxy.port)
    client.send(request("/a", "Expect: 100-continue") + request("/b"))
    assert [client.read_response().status for _ in range(2)] == [200, 200]


def test_pipelined_requests_are_answered_in_order(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    gate = module_origin.gate()
    module_origin.on("slow", hold(gate), respond(200, b"slow"))
    client = raw(proxy.port)
    client.send(request("/warm"))
    client.read_response()
    client.send(
        request("/slow")
        + request("/warm", method="HEAD")
        + request("/..")
        + request("/x", "Content-Length: 2", method="PUT", body=b"ab")
        + request("/slow")
    )
    module_origin.wait_for(1, "slow")
    assert not client.read_eof(timeout=0.05)
    gate.open()
    assert client.read_response().body == b"slow"
    assert client.read_response("HEAD").header("Content-Length") == b"5"
    assert [client.read_response().status for _ in range(3)] == [400, 405, 200]


def test_requests_before_a_malformed_one_are_answered(proxy: Served) -> None:
    answers = responses_until_closed(proxy.port, request() * 3 + b"garbage\r\n\r\n" + request())
    assert [answer.status for answer in answers] == [200, 200, 200, 400]


def test_a_flood_of_pipelined_requests_is_answered_in_bounded_memory(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    gate = module_origin.gate()
    module_origin.on("flood", hold(gate), respond(200, b"slow"))
    before = resident_bytes(proxy)
    flood = request("/a", "If-None-Match: *") * 400_000
    with RawConnection("127.0.0.1", proxy.port, timeout=0.5) as client:
        client.send(request("/flood"))
        with pytest.raises(TimeoutError):
            client.send(flood)
        assert resident_bytes(proxy) - before < 24 * 2**20
        gate.open()
        client.timeout = 5
        assert [client.read_response().status for _ in range(500)] == [200] + [304] * 499
        assert resident_bytes(proxy) - before < 24 * 2**20


@pytest.mark.parametrize("pipelined", [0, 1, 2])
@pytest.mark.parametrize("kind", ["hit", "miss"])
def test_a_client_that_half_closes_is_answered_then_closed(
    proxy: Served, module_origin: ScriptedOrigin, kind: str, pipelined: int
) -> None:
    gate = module_origin.gate()
    key = f"half-{kind}-{pipelined}"
    if kind == "miss":
        module_origin.on(key, hold(gate), respond(200, b"hello"))
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(request(f"/{key}") + request("/second") * pipelined)
        client.half_close()
        if kind == "miss":
            module_origin.wait_for(1, key)
            assert not client.read_eof(timeout=0.1)
        gate.open()
        assert [answer.body for answer in rest_of(client)] == [b"hello"] * (1 + pipelined)


def test_an_idle_client_that_half_closes_is_closed(proxy: Served) -> None:
    for sent in (b"", b"GET /a HT"):
        with RawConnection("127.0.0.1", proxy.port) as client:
            client.send(sent)
            client.half_close()
            assert client.read_eof()


def test_pipelined_requests_of_a_client_that_left_are_given_up(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    gone = module_origin.disconnects
    body = b"x" * 4_000_000
    module_origin.on("left", drip(body, 20_000, interval=0.02, content_length=40_000_000))
    client = RawConnection("127.0.0.1", proxy.port)
    client.send(request("/left") + request("/never-1") + request("/never-2"))
    client.read_head()
    client.close()
    started = time.monotonic()
    # Larger than MAX_OBJECT_SIZE, so without a reader it is not fetched to its end.
    module_origin.wait_until(lambda: module_origin.disconnects > gone)
    assert time.monotonic() - started < 2
    assert module_origin.count("never-1") == 0


def test_one_packet_of_many_requests_is_answered_in_order(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    gate = module_origin.gate()
    module_origin.on("first", hold(gate), respond(200, b"first"))
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(
            request("/first") + request("/a") * 3000 + request("/last", "Connection: close")
        )
        module_origin.wait_for(1, key="first")
        gate.open()
        answers = rest_of(client)
    assert len(answers) == 3002
    assert answers[0].body == b"first"
    assert {answer.status for answer in answers} == {200}


def test_requests_that_wait_are_not_parsed_ahead(
    proxy: Served, module_origin: ScriptedOrigin, raw: OpenRaw
) -> None:
    gate = module_origin.gate()
    module_origin.on("ahead", hold(gate), respond(200, b"slow"))
    before = resident_bytes(proxy)
    flood = request("/ahead") + request("/a") * 6000
    clients = [raw(proxy.port) for _ in range(8)]
    for client in clients:
        client.send(flood)
    module_origin.wait_for(1, key="ahead")
    # What was sent before has been read by the time that these are answered.
    for _ in range(20):
        assert proxy.get("/healthz").status_code == 200
    assert resident_bytes(proxy) - before < 24 * 2**20
    gate.open()


CHUNKED = "Transfer-Encoding: chunked"


def test_trailers_have_no_say(proxy: Served, module_origin: ScriptedOrigin) -> None:
    gate = module_origin.gate()
    module_origin.on("trailed", hold(gate), respond(200, b"0123456789"))
    with RawConnection("127.0.0.1", proxy.port) as client:
        body = b"0\r\nRange: bytes=2-4\r\nIf-None-Match: *\r\n\r\n"
        client.send(request("/trailed", CHUNKED, body=body))
        module_origin.wait_for(1, key="trailed")
        gate.open()
        assert (client.read_response().status, proxy.get("/trailed").content) == (
            200,
            b"0123456789",
        )


def test_a_token_in_a_trailer_is_no_token(proxy: Served) -> None:
    body = b"0\r\nX-Auth-Token: %b\r\n\r\n" % proxy.token.encode()
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(request("/cache/purge", CHUNKED, method="POST", body=body))
        assert client.read_response().status == 401


def test_trailers_without_end_close_the_connection(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    gate = module_origin.gate()
    module_origin.on("endless", hold(gate), respond(200, b"x"))
    before = resident_bytes(proxy)
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(request("/endless", CHUNKED, body=b"0\r\n"))
        module_origin.wait_for(1, key="endless")
        for _ in range(200):
            client.send(b"a: b\r\n" * 10_000)
        gate.open()
        assert client.read_response().status == 200
        assert client.read_eof()
    assert resident_bytes(proxy) - before < 16 * 2**20


def test_a_head_of_an_object_of_unknown_length_states_none(
    proxy: Served, module_origin: ScriptedOrigin
) -> None:
    module_origin.on("unknown", respond(200, b"hello", chunked=True))
    with RawConnection("127.0.0.1", proxy.port) as client:
        client.send(request("/unknown", method="HEAD"))
        answer = client.read_response("HEAD")
        assert answer.header("Content-Length") is None
        client.send(request("/unknown"))
        assert client.read_response().body == b"hello"
