"""The time that either end of a response takes."""

from __future__ import annotations

import asyncio

import pytest

from proxy.origin.faults import (
    SilenceError,
)
from proxy.origin.pieces import HIGH_WATER_BYTES, MOST_PIECES
from tests.origin.peer import (
    HALF,
    HaltingPeer,
    Peer,
    ask,
    body_of,
    pool,
    talking,
    until,
)

ON_BOTH_LOOPS = True

# What one read of an event loop may bring beyond the high-water mark.
ONE_READ_BYTES = 256 * 1024
# More than the kernel's buffers of both ends take.
HUGE_BYTES = 64 * 1024 * 1024


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
    peer = HaltingPeer(HALF)
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
    peer = HaltingPeer(HALF, b"lo")
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
        peer.go.set()
        assert await reading == b"lo"
        response.close()
