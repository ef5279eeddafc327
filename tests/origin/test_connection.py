"""One exchange on a connection of our own, at the socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

from proxy.origin.faults import (
    ConnectionFaultError,
    DisconnectedError,
    MalformedResponseError,
)
from proxy.origin.message import ResponseMessage
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

ON_BOTH_LOOPS = True


async def test_a_body_that_came_with_the_head_is_here_at_once() -> None:
    async with serving(HELLO) as (_, endpoint), pool() as connections:
        response = await ask(connections, endpoint)
        assert (response.is_received, response.buffered, connections.idle) == (True, 5, 1)
        assert await body_of(response) == b"hello"


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


async def test_a_response_behind_the_end_makes_nothing_of_the_answer() -> None:
    async with serving(HELLO + HELLO) as (_, endpoint), pool() as connections:
        with pytest.raises(MalformedResponseError, match="longer than Content-Length"):
            await ask(connections, endpoint)
        await until(lambda: connections.open == 0)


async def test_nonsense_in_the_body_ends_it_after_what_came_before() -> None:
    peer = HaltingPeer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\n"
    )
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        peer.go.set()
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


STAGES: dict[str, bytes] = {
    "waiting for the head": b"",
    "within the head": b"HTTP/1.1 200 OK\r\nConte",
    "behind an interim response": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_request_given_up_leaves_no_connection(stage: str) -> None:
    peer = HaltingPeer(STAGES[stage])
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
    peer = HaltingPeer(HALF)
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        reading = asyncio.create_task(body_of(response))
        await until(lambda: response.buffered == 0)
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


async def test_who_waits_for_the_end_is_told_once_all_is_here() -> None:
    told: list[int] = []
    peer = HaltingPeer(HALF, b"lo")
    async with talking(peer) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        response.on_received(lambda: told.append(1))
        assert not told
        peer.go.set()
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
