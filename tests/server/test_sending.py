"""Answers at hand whole, which our protocol writes at once: the same bytes as uvicorn's own."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from proxy.responses import BytesResponse
from proxy.server.handler import LeanRequest
from proxy.server.protocol import HttpProtocol
from proxy.server.sending import Sending
from tests.server.conversation import request
from tests.server.in_process import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse

    Make = Callable[[], HttpResponse]

DATE = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")


class Closable(Sent):
    """Knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def given(status: int, *fields: tuple[bytes, bytes], body: bytes = b"") -> Make:
    return lambda: BytesResponse(body, status, (DATE, *fields))


def with_a_cookie() -> HttpResponse:
    response = BytesResponse(b"body", 200, (DATE,))
    response.set_cookie("a", "1")
    return response


async def conversation(
    kind: type[HttpToolsProtocol],
    sent: bytes,
    make: Make,
    added: list[tuple[bytes, bytes]] | None = None,
    *,
    access_log: bool = False,
) -> Closable:
    """What is written for a request that is answered with a response."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked = LeanRequest(scope, receive, prefixed=False)
        await Sending(scope, receive, send).whole(asked, make())

    config = uvicorn.Config(
        cast("Any", application),
        log_config=None,
        lifespan="off",
        access_log=access_log,
        proxy_headers=False,
    )
    config.load()
    state = ServerState()
    state.default_headers = added or []
    protocol, transport = kind(config, state, {}, asyncio.get_running_loop()), Closable()
    protocol.access_log = access_log
    protocol.connection_made(transport)
    protocol.data_received(sent)
    while protocol.tasks:
        await asyncio.wait(list(protocol.tasks), timeout=5)
    protocol.connection_lost(None)
    return transport


AT_ONCE: dict[str, tuple[str, Make]] = {
    "a body": ("GET", given(200, (b"content-length", b"4"), body=b"body")),
    "a length that is not told": ("GET", given(200, body=b"body")),
    "nothing": ("GET", given(200)),
    "a long body": ("GET", given(200, body=b"x" * 100_000)),
    "a head": ("HEAD", given(200, (b"content-length", b"4"))),
    "a head of no length": ("HEAD", given(200)),
    "not modified": ("GET", given(304, (b"etag", b'"e"'))),
    "no content": ("OPTIONS", given(204, (b"allow", b"GET"))),
    "bytes beyond ASCII": ("GET", given(200, (b"x-amz-meta-a", b"\xe9\t-"), body=b"body")),
    "an error": ("GET", given(404, body=b"404 Not Found\n")),
    "a status without a name": ("GET", given(299, body=b"body")),
}
IN_TWO: dict[str, tuple[str, Make]] = {
    "a cookie": ("GET", with_a_cookie),
    "an end": ("GET", given(200, (b"connection", b"close"), body=b"body")),
    "chunks": ("GET", given(200, (b"transfer-encoding", b"chunked"), body=b"body")),
}
MALFORMED: dict[str, tuple[str, Make]] = {
    "a line end in a value": ("GET", given(200, (b"x", b"a\r\nb: c"), body=b"body")),
    "a lone line end in a value": ("GET", given(200, (b"x", b"a\nb"), body=b"body")),
    "NUL in a value": ("GET", given(200, (b"x", b"a\0b"), body=b"body")),
    "DEL in a value": ("GET", given(200, (b"x", b"a\x7fb"), body=b"body")),
    "a colon in a name": ("GET", given(200, (b"x:", b"a"), body=b"body")),
    "a line end in a name": ("GET", given(200, (b"x\r\ny", b"a"), body=b"body")),
}
WRONG: dict[str, tuple[str, Make]] = {
    "too short a length": ("GET", given(200, (b"content-length", b"3"), body=b"body")),
    "too long a length": ("GET", given(200, (b"content-length", b"5"), body=b"body")),
}


def written(transport: Sent) -> bytes:
    return b"".join(transport.packets)


EVERYTHING = AT_ONCE | IN_TWO | MALFORMED | WRONG


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("fields", [(), ("Connection: close",), ("Expect: 100-continue",)])
async def test_the_bytes_are_uvicorns(name: str, fields: tuple[str, ...]) -> None:
    method, make = EVERYTHING[name]
    asked = request("/a", *fields, method=method)
    ours = await conversation(HttpProtocol, asked, make)
    uvicorns = await conversation(HttpToolsProtocol, asked, make)
    assert written(ours) == written(uvicorns)
    assert ours.closed == uvicorns.closed


@pytest.mark.parametrize("name", AT_ONCE)
async def test_an_answer_at_hand_is_one_write(name: str) -> None:
    method, make = AT_ONCE[name]
    transport = await conversation(HttpProtocol, request("/a", method=method), make)
    # writelines of a transport joins; only long bodies come to it.
    assert len(transport.packets) == 1


@pytest.mark.parametrize("name", MALFORMED)
async def test_no_malformed_field_is_written(name: str) -> None:
    _, make = MALFORMED[name]
    transport = await conversation(HttpProtocol, request("/a"), make)
    assert transport.closed
    assert written(transport) == b""


async def test_http_1_0_is_answered_by_uvicorn() -> None:
    asked = request("/a", version="HTTP/1.0")
    for name, (_, make) in AT_ONCE.items():
        ours = await conversation(HttpProtocol, asked, make)
        assert b"connection: close" in written(ours), name
        assert ours.closed


async def test_pipelined_requests_are_answered_in_order() -> None:
    bodies = [b"first", b"second", b"third"]
    waiting = iter(bodies)
    transport = await conversation(
        HttpProtocol, request("/a") * 3, lambda: BytesResponse(next(waiting), 200, (DATE,))
    )
    assert [packet.partition(b"\r\n\r\n")[2] for packet in transport.packets] == bodies


async def test_uvicorn_adds_the_fields_that_it_was_told_to() -> None:
    made = given(200, body=b"body")
    added = [(b"x-added", b"yes")]
    ours = await conversation(HttpProtocol, request("/a"), made, added)
    assert b"\r\nx-added: yes\r\n" in written(ours)
    uvicorns = await conversation(HttpToolsProtocol, request("/a"), made, added)
    assert written(ours) == written(uvicorns)


async def test_uvicorn_logs_where_it_was_told_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        await conversation(HttpProtocol, request("/a"), given(200, body=b"body"), access_log=True)
    assert [record.args for record in caplog.records if record.name == "uvicorn.access"] == [
        ("127.0.0.1:4", "GET", "/a", "1.1", 200)
    ]


async def test_a_request_that_was_answered_is_not_kept_alive() -> None:
    made = given(200, body=b"body")
    gc.collect()
    gc.disable()
    try:
        before = cycles()
        await conversation(HttpProtocol, request("/a") * 10, made)
        # The last one is the connection's.
        assert cycles() - before <= 1
    finally:
        gc.enable()


def cycles() -> int:
    return sum(type(found) is RequestResponseCycle for found in gc.get_objects())
