"""Large bodies that come from memory without a copy are whole, in order, and of one version."""

from __future__ import annotations

import asyncio
import random
import select
import ssl
from typing import TYPE_CHECKING

import pytest
import uvloop

from proxy import conf
from proxy.clients import Clients
from proxy.server.fast_door import FastDoor
from proxy.server.front import Front
from proxy.server.page_pipe import PagePipe
from tests.gateway.subject import Proxy
from tests.origin.certificates import Authority
from tests.origins import respond
from tests.raw_http import RawConnection
from tests.server.conversation import eventually, request
from tests.server.in_process import listening
from tests.server.process_state import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.origins import ScriptedOrigin
    from tests.raw_http import OpenRaw
    from tests.served.process import Serve, Served

FRESH = {"Cache-Control": "max-age=600", "Content-Type": "text/plain", "ETag": '"e"'}
SIZE = 200_000


def body_of(name: str, size: int = SIZE) -> bytes:
    return random.Random(name).randbytes(size)


class CountingPipe(PagePipe):
    """Tells how many answers went through."""

    sent = 0

    def send(self, descriptor: int) -> bytes:
        self.sent += 1
        return super().send(descriptor)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_asked_for_again_is_not_copied_but_where_it_is_encrypted(
    origin: ScriptedOrigin,
    tmp_path: Path,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    encrypted: bool,
) -> None:
    origin.on("k", respond(200, body_of("k"), FRESH))
    authority = Authority.make(tmp_path)
    server_tls = authority.server("127.0.0.1") if encrypted else None
    client_tls = ssl.create_default_context(cafile=authority.file) if encrypted else None

    async def ask() -> int:
        async with Proxy(origin.endpoint) as subject:
            gateway = subject.gateway
            pipe = CountingPipe(gateway.memory.splice)
            front = Front(
                FastDoor(gateway, ""), Clients(conf.config()), None, False, None, None, pipe
            )
            await subject.get("k")
            server = await listening(front, server_tls)
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address, ssl=client_tls)
            for _ in range(6):
                writer.write(request("/k"))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK")
                assert await reader.readexactly(SIZE) == body_of("k")
            writer.close()
            await writer.wait_closed()
            server.close()
            return pipe.sent

    with asyncio.Runner(loop_factory=new_loop) as runner:
        # The first are not known to be asked for again.
        assert runner.run(ask()) in ({0} if encrypted else {4, 5})


@pytest.fixture
def warm(serve: Serve, origin: ScriptedOrigin) -> Served:
    """Has `/a` in memory, and has given it often enough to send it from its pages."""
    origin.on("a", respond(200, body_of("a"), FRESH))
    served = serve(origin)
    with RawConnection("127.0.0.1", served.port) as client:
        for _ in range(4):
            client.send(request("/a"))
            assert client.read_response().body == body_of("a")
    return served


@pytest.mark.parametrize("size", [16_384, 20_000, 65_536, 262_143])
def test_each_size_is_whole(serve: Serve, origin: ScriptedOrigin, raw: OpenRaw, size: int) -> None:
    origin.on("b", respond(200, body_of("b", size), FRESH))
    served = serve(origin, ACCESS_LOG="on")
    client = raw(served.port)
    for _ in range(10):
        client.send(request("/b"))
        assert client.read_response().body == body_of("b", size)

    def logged() -> list[object]:
        return [line["bytes"] for line in served.json_lines() if line.get("path") == "/b"]

    eventually(lambda: len(logged()) == 10)
    assert set(logged()) == {size}


def test_parts_and_heads_of_it_are_right(warm: Served, raw: OpenRaw) -> None:
    client = raw(warm.port)
    for first, last in [(0, 16_383), (1, 100_000), (4095, 4096), (150_000, 199_999)] * 3:
        client.send(request("/a", f"Range: bytes={first}-{last}"))
        answer = client.read_response()
        assert (answer.status, answer.body) == (206, body_of("a")[first : last + 1])
        client.send(request("/a", method="HEAD"))
        assert client.read_response("HEAD").header("Content-Length") == b"200000"


def test_answers_that_a_client_asks_for_all_at_once_come_in_order(
    warm: Served, raw: OpenRaw, origin: ScriptedOrigin
) -> None:
    origin.on("small", respond(200, b"small", FRESH))
    client = raw(warm.port)
    for _ in range(3):
        client.send(request("/small"))
        assert client.read_response().body == b"small"
    client.send((request("/a") + request("/small")) * 10)
    for _ in range(10):
        assert client.read_response().body == body_of("a")
        assert client.read_response().body == b"small"


def test_who_asks_on_while_the_last_answer_is_under_way_gets_all_in_order(
    warm: Served, raw: OpenRaw
) -> None:
    client = raw(warm.port, receive_buffer=4096)
    for number in range(30):
        client.send(request("/a", f"Range: bytes={number}-{number + 150_000}"))
    for number in range(30):
        assert client.read_response().body == body_of("a")[number : number + 150_001]


def test_a_slow_reader_gets_the_version_that_it_was_promised(
    warm: Served, raw: OpenRaw, origin: ScriptedOrigin
) -> None:
    slow = [raw(warm.port, receive_buffer=4096) for _ in range(20)]
    for client in slow:
        client.send(request("/a"))
    # All have got something of the old version, none has read it.
    for client in slow:
        assert client.sock.recv(1, 2) == b"H"
    for turn in range(5):
        origin.on("a", respond(200, body_of(f"a{turn}"), FRESH))
        assert warm.admin("POST", "/cache/purge", json={"keys": ["a"]}).json()["purged"] == 1
        other = raw(warm.port)
        for _ in range(3):
            other.send(request("/a"))
            assert other.read_response().body == body_of(f"a{turn}")
    for client in slow:
        assert client.read_response().body == body_of("a")


def test_a_client_that_leaves_in_the_middle_harms_nobody(warm: Served, raw: OpenRaw) -> None:
    for _ in range(20):
        with RawConnection("127.0.0.1", warm.port, receive_buffer=4096) as leaving:
            leaving.send(request("/a") * 2)
            assert leaving.sock.recv(1) == b"H"
    client = raw(warm.port)
    for _ in range(5):
        client.send(request("/a"))
        assert client.read_response().body == body_of("a")


def test_those_who_are_slow_with_the_same_body_share_it(warm: Served, raw: OpenRaw) -> None:
    def all_ask(count: int) -> list[RawConnection]:
        clients = [raw(warm.port, receive_buffer=4096) for _ in range(count)]
        for client in clients:
            # One after the other, and more than the kernel keeps for who reads nothing.
            for _ in range(25):
                client.send(request("/a"))
                select.select([], [], [], 0.001)
            assert client.sock.recv(1) == b"H"
        return clients

    first = all_ask(5)
    before = resident_bytes(warm)
    more = all_ask(40)
    assert resident_bytes(warm) - before < 3.5 * SIZE
    assert len(first + more) == 45
