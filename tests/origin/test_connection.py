"""One exchange at a time on a connection of our own, at the socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading

import pytest

from proxy.origin import connections as pool_module
from proxy.origin.connections import Trip
from proxy.origin.faults import (
    ConnectionFaultError,
    DisconnectedError,
    MalformedResponseError,
    NotConnectedError,
    SilenceError,
)
from proxy.origin.location import Endpoint
from proxy.origin.message import ResponseMessage
from proxy.origin.pieces import HIGH_WATER_BYTES, MOST_PIECES
from tests.origin.peer import Peer, ask, body_of, pool, serving, talking, until
from tests.origins.ports import free_ports, refusing_port, unaccepting

ON_BOTH_LOOPS = True

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"
# What one read of an event loop may bring beyond the high-water mark.
ONE_READ_BYTES = 256 * 1024
# More than the kernel's buffers of both ends take.
HUGE_BYTES = 64 * 1024 * 1024


async def test_a_body_that_came_with_the_head_is_here_at_once() -> None:
    async with serving(HELLO) as (_, endpoint), pool() as connections:
        response = await ask(connections, endpoint)
        assert (response.is_received, response.buffered, connections.idle) == (True, 5, 1)
        assert await body_of(response) == b"hello"


async def test_a_connection_is_used_again() -> None:
    async with serving(HELLO) as (peer, endpoint), pool() as connections:
        trips = [Trip() for _ in range(3)]
        for trip in trips:
            assert await body_of(await ask(connections, endpoint, trip)) == b"hello"
        assert [trip.reused for trip in trips] == [False, True, True]
        assert peer.accepted == 1


async def test_the_connection_used_last_is_used_first() -> None:
    served: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = peer.accepted
        while await peer.request(reader):
            served.append(number)
            await both.wait()
            writer.write(HELLO)

    both = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        first = asyncio.create_task(ask(connections, endpoint))
        await until(lambda: peer.requests == 1)
        second = asyncio.create_task(ask(connections, endpoint))
        await until(lambda: peer.requests == 2)
        both.set()
        await asyncio.gather(first, second)
        await until(lambda: connections.idle == 2)
        del served[:]
        for _ in range(4):
            await ask(connections, endpoint)
        assert len(set(served)) == 1


async def test_no_more_idle_connections_than_the_limit() -> None:
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await peer.request(reader):
            await go.wait()
            writer.write(HELLO)

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool(limit=2) as connections:
        asked = [asyncio.create_task(ask(connections, endpoint)) for _ in range(5)]
        await until(lambda: peer.requests == 5)
        go.set()
        await asyncio.gather(*asked)
        await until(lambda: connections.open == 2)
        assert connections.idle == 2


@pytest.mark.parametrize("reset", [False, True])
async def test_an_idle_connection_that_ends_is_forgotten_at_once(reset: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HELLO)
        await writer.drain()
        await leave.wait()
        if reset:
            writer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            writer.transport.abort()

    leave = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        await ask(connections, endpoint)
        assert (connections.idle, connections.open) == (1, 1)
        leave.set()
        await until(lambda: (connections.idle, connections.open) == (0, 0))


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.2)
    async with serving(HELLO) as (peer, endpoint), pool() as connections:
        loop = asyncio.get_running_loop()
        await ask(connections, endpoint)
        await asyncio.sleep(0.1)
        await ask(connections, endpoint)
        began = loop.time()
        await until(lambda: connections.open == 0)
        assert 0.15 < loop.time() - began < 1.0
        assert peer.accepted == 1
        await until(lambda: peer.open == 0)


@pytest.mark.parametrize("garbage", [HELLO, b"x", b"\r\n"])
async def test_bytes_that_nobody_asked_for_close_an_idle_connection(garbage: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await peer.request(reader):
            writer.write(HELLO)
            await writer.drain()
            await more.wait()
            writer.write(garbage)

    more = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        assert await body_of(await ask(connections, endpoint)) == b"hello"
        more.set()
        await until(lambda: connections.open == 0)
        more.clear()
        trip = Trip()
        assert await body_of(await ask(connections, endpoint, trip)) == b"hello"
        assert not trip.reused


@pytest.mark.parametrize("unasked", [HELLO.replace(b"hello", b"wrong"), b"x", b""])
async def test_what_came_unread_to_an_idle_connection_is_no_answer(unasked: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        accepted: list[socket.socket] = []

        def talk() -> None:
            for _ in range(2):
                sock, _ = listener.accept()
                accepted.append(sock)
                sock.recv(65536)
                sock.sendall(HELLO)

        thread = threading.Thread(target=talk)
        thread.start()
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], tls=False)
        async with pool() as connections:
            assert await body_of(await ask(connections, endpoint)) == b"hello"
            # Before the event loop has a turn to see it.
            accepted[0].sendall(unasked) if unasked else accepted[0].shutdown(socket.SHUT_WR)
            trip = Trip()
            assert await body_of(await ask(connections, endpoint, trip)) == b"hello"
            assert not trip.reused
        thread.join()
        for sock in accepted:
            sock.close()


async def test_a_response_before_the_request_is_no_answer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await peer.request(reader)
        writer.write(HELLO)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        # The first has it or has not, as it is a race; nobody has it for a second answer.
        try:
            first = await ask(connections, endpoint)
            await first.read()
        except ConnectionFaultError:
            return
        await until(lambda: connections.idle == 0)


@pytest.mark.parametrize(
    "answer",
    [
        HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        HELLO.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 304 Not Modified\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\n\r\n" + HELLO,
    ],
)
async def test_a_connection_that_is_of_no_more_use_is_closed(answer: bytes) -> None:
    async with serving(answer) as (peer, endpoint), pool() as connections:
        for _ in range(2):
            await body_of(await ask(connections, endpoint))
        await until(lambda: connections.open == 0)
        assert peer.accepted == 2


async def test_a_response_behind_the_end_makes_nothing_of_the_answer() -> None:
    async with serving(HELLO + HELLO) as (_, endpoint), pool() as connections:
        with pytest.raises(MalformedResponseError, match="longer than Content-Length"):
            await ask(connections, endpoint)
        await until(lambda: connections.open == 0)


async def test_nonsense_in_the_body_ends_it_after_what_came_before() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await go.wait()
        writer.write(b"zz\r\n")
        await reader.read()

    go = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        go.set()
        assert await response.read() == b"abc"
        with pytest.raises(MalformedResponseError):
            await response.read()
        await until(lambda: connections.open == 0)
        response.close()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nConte", HALF])
async def test_an_end_within_a_response(sent: bytes) -> None:
    async with serving(sent, close=True) as (_, endpoint), pool() as connections:
        with pytest.raises(DisconnectedError):
            await body_of(await ask(connections, endpoint))
        assert connections.idle == 0


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nhello"
    async with serving(answer, close=True) as (_, endpoint), pool() as connections:
        assert await body_of(await ask(connections, endpoint)) == b"hello"
        assert connections.idle == 0


async def test_an_origin_is_read_no_further_than_the_reader_keeps_up() -> None:
    sent = 0
    block = bytes(range(256)) * 256

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE_BYTES)
        for _ in range(HUGE_BYTES // len(block)):
            writer.write(block)
            await writer.drain()
            sent += len(block)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < HUGE_BYTES / 2
        assert HIGH_WATER_BYTES < response.buffered <= HIGH_WATER_BYTES + ONE_READ_BYTES
        received = 0
        while piece := await response.read():
            expected = received % 256
            assert piece[:2] == bytes([expected, (expected + 1) % 256])[: len(piece)]
            assert response.buffered <= HIGH_WATER_BYTES + ONE_READ_BYTES
            received += len(piece)
        assert received == HUGE_BYTES
        # It was paused many times; at rest it is read again, so that its end is seen.
        await until(lambda: connections.idle == 1)
        await peer.stop()
        await until(lambda: connections.open == 0)


async def test_an_origin_that_sends_bytes_one_by_one_is_read_no_further_either() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (16 * MOST_PIECES))
        for _ in range(16 * MOST_PIECES):
            writer.write(b"a")
            await asyncio.sleep(0)
            sent += 1
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        await until(lambda: sent == 16 * MOST_PIECES)
        assert response.buffered < 8 * MOST_PIECES
        assert await body_of(response) == b"a" * 16 * MOST_PIECES


async def test_silence_within_a_body_ends_it_in_time() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HALF)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool(timeout=0.3) as connections:
        response = await ask(connections, endpoint)
        assert await response.read() == b"hel"
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(SilenceError):
            await response.read()
        assert 0.25 < loop.time() - began < 0.8
        await until(lambda: peer.open == 0)
        assert connections.open == 0


async def test_what_is_no_body_does_not_end_the_silence() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n5;")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool(timeout=0.3) as connections:
        response = await ask(connections, endpoint)
        assert await response.read() == b"a"
        with pytest.raises(SilenceError):
            async with asyncio.timeout(2):
                await response.read()


async def test_a_body_that_drips_may_take_longer_than_the_timeout() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            writer.write(b"a")
            await asyncio.sleep(0.1)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool(timeout=0.3) as connections:
        assert await body_of(await ask(connections, endpoint)) == b"a" * 10


async def test_the_time_that_a_reader_takes_is_no_silence() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HALF)
        await go.wait()
        writer.write(b"lo")
        await reader.read()

    go = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool(timeout=0.2) as connections:
        response = await ask(connections, endpoint)
        assert await response.read() == b"hel"
        waiting = asyncio.create_task(response.read())
        await asyncio.sleep(0.1)
        waiting.cancel()
        # The timer of that wait goes off meanwhile.
        await asyncio.sleep(0.3)
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0.1)
        go.set()
        assert await reading == b"lo"
        response.close()


STAGES: dict[str, bytes] = {
    "waiting for the head": b"",
    "within the head": b"HTTP/1.1 200 OK\r\nConte",
    "behind an interim response": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_request_given_up_leaves_no_connection(stage: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(STAGES[stage])
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        waiting = asyncio.create_task(ask(connections, endpoint))
        await until(lambda: peer.requests == 1)
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: peer.open == 0)
        assert (connections.idle, connections.open) == (0, 0)


async def test_a_body_given_up_leaves_no_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HALF)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        reading = asyncio.create_task(body_of(response))
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until(lambda: (peer.open, connections.idle, connections.open) == (0, 0, 0))
        with pytest.raises(DisconnectedError):
            await response.read()


async def test_a_response_given_up_after_its_end_costs_no_connection() -> None:
    async with serving(HELLO) as (peer, endpoint), pool() as connections:
        for _ in range(3):
            (await ask(connections, endpoint)).close()
        assert (peer.accepted, connections.idle) == (1, 1)


async def test_a_request_given_up_in_the_moment_of_its_answer() -> None:
    """Whatever step it is cancelled at, what is left in the pool is fit for use."""
    async with serving(HELLO) as (_, endpoint), pool() as connections:
        for steps in range(40):
            asking = asyncio.create_task(ask(connections, endpoint))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert await body_of(await ask(connections, endpoint)) == b"hello"
        await until(lambda: connections.open == connections.idle)


async def test_a_connect_that_is_given_up_leaves_nothing() -> None:
    (port,) = free_ports(1)
    async with pool() as connections:
        with unaccepting(port):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await ask(connections, Endpoint("127.0.0.1", port, tls=False))
            assert connections.open == 0


async def test_a_refused_connection_says_so() -> None:
    with refusing_port() as port:
        async with pool() as connections:
            with pytest.raises(NotConnectedError, match=r"^Connection refused$"):
                await ask(connections, Endpoint("127.0.0.1", port, tls=False))


async def test_closing_the_pool_ends_what_is_under_way() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"" if peer.requests == 1 else HALF)
        await reader.read()

    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        waiting = asyncio.create_task(ask(connections, endpoint))
        await until(lambda: peer.requests == 1)
        response = await ask(connections, endpoint)
        await connections.aclose()
        assert connections.open == 0
        with pytest.raises(DisconnectedError):
            await waiting
        assert await response.read() == b"hel"
        with pytest.raises(DisconnectedError):
            await response.read()
        await until(lambda: peer.open == 0)
        with pytest.raises(DisconnectedError):
            await ask(connections, endpoint)


async def test_another_endpoint_gets_connections_of_its_own() -> None:
    async with (
        serving(HELLO) as (first, there),
        serving(HELLO) as (second, elsewhere),
        pool() as connections,
    ):
        for endpoint in (there, elsewhere, elsewhere, there):
            assert await body_of(await ask(connections, endpoint)) == b"hello"
        assert (first.accepted, second.accepted) == (2, 1)
        await until(lambda: (connections.idle, connections.open) == (1, 1))


async def test_what_ends_after_a_move_is_not_kept_for_the_new_endpoint() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HALF)
        await go.wait()
        writer.write(b"lo")
        await reader.read()

    go = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as old, serving(HELLO) as (_, new), pool() as connections:
        response = await ask(connections, old)
        await ask(connections, new)
        go.set()
        assert await body_of(response) == b"hello"
        await until(lambda: (connections.idle, connections.open) == (1, 1))
        await until(lambda: peer.open == 0)


async def test_who_waits_for_the_end_is_told_once_all_is_here() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(HALF)
        await go.wait()
        writer.write(b"lo")
        await reader.read()

    go = asyncio.Event()
    told: list[int] = []
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        response.on_received(lambda: told.append(1))
        assert not told
        go.set()
        await until(lambda: bool(told))
        # Unread, it has let go of its connection all the same.
        assert connections.idle == 1
        assert await body_of(response) == b"hello"
        response.on_received(lambda: told.append(2))
        assert told == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        HALF,
        HELLO + b"x",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
)
async def test_a_response_is_gone_without_a_look_of_the_garbage_collector(answer: bytes) -> None:
    async with serving(answer, close=True) as (_, endpoint), pool() as connections:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with contextlib.suppress(ConnectionFaultError):
                    await body_of(await ask(connections, endpoint))
                await until(lambda: connections.open == 0)
            left = [made for made in gc.get_objects() if type(made) is ResponseMessage]
        finally:
            gc.enable()
        assert not left
