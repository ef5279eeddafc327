"""Which connections the pool keeps to use again."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from proxy.origin import connections as pool_module
from proxy.origin.connections import Trip
from proxy.origin.faults import (
    DisconnectedError,
    NotConnectedError,
)
from proxy.origin.location import Endpoint
from tests.origin.peer import (
    HALF,
    HELLO,
    HaltingPeer,
    Peer,
    ask,
    body_of,
    pool,
    serving,
    talking,
    until,
)
from tests.origins.ports import free_ports, refusing_port, unaccepting

ON_BOTH_LOOPS = True


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
    peer = HaltingPeer(HALF, b"lo")
    async with talking(peer) as old, serving(HELLO) as (_, new), pool() as connections:
        response = await ask(connections, old)
        await ask(connections, new)
        peer.go.set()
        assert await body_of(response) == b"hello"
        await until(lambda: (connections.idle, connections.open) == (1, 1))
        await until(lambda: peer.open == 0)
