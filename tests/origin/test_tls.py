"""Connections to an origin over TLS: who is trusted, and where a response ends."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from proxy.origin.connections import Trip
from proxy.origin.dialing import tls_context
from proxy.origin.errors import OriginError
from proxy.origin.exchange import OriginAnswer
from proxy.origin.faults import DisconnectedError, NotConnectedError
from proxy.origin.location import Endpoint
from tests.gateway.subject import Bucket, s3_origin
from tests.origin.certificates import Authority
from tests.origin.peer import HELLO, Peer, ask, body_of, pool, serving, talking, until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

ON_BOTH_LOOPS = True

HUGE_BYTES = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def _trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


@pytest.mark.usefixtures("_trusted")
async def test_a_server_of_a_trusted_authority(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with serving(HELLO, tls=tls) as (peer, endpoint), pool() as connections:
        for _ in range(3):
            assert await body_of(await ask(connections, endpoint)) == b"hello"
        assert peer.accepted == 1


async def test_a_server_of_an_unknown_authority(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with serving(HELLO, tls=tls) as (peer, endpoint), pool() as connections:
        with pytest.raises(NotConnectedError, match=r"certificate verify failed: .*issuer"):
            await ask(connections, endpoint)
        assert (peer.requests, connections.open) == (0, 0)


@pytest.mark.parametrize(
    ("name", "expired", "reason"),
    [("s3.test", False, "127.0.0.1"), ("127.0.0.1", True, "expired")],
    ids=["for another name", "of yesterday"],
)
@pytest.mark.usefixtures("_trusted")
async def test_a_certificate_that_does_not_hold(
    authority: Authority, name: str, expired: bool, reason: str
) -> None:
    tls = authority.server(name, expired=expired)
    async with serving(HELLO, tls=tls) as (peer, endpoint), pool() as connections:
        with pytest.raises(NotConnectedError, match=f"certificate verify failed: .*{reason}"):
            await ask(connections, endpoint)
        assert peer.requests == 0


@pytest.mark.usefixtures("_trusted")
async def test_the_name_is_told_to_the_server_and_checked(authority: Authority) -> None:
    told: list[str | None] = []
    tls = authority.server("localhost")

    def note(_sock: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        told.append(name)

    tls.sni_callback = note
    async with serving(HELLO, tls=tls) as (_, endpoint), pool() as connections:
        named = Endpoint("localhost", endpoint.port, tls=True)
        assert await body_of(await ask(connections, named)) == b"hello"
    assert told == ["localhost"]


async def test_a_server_that_speaks_no_tls() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with talking(Peer(talk)) as endpoint, pool() as connections:
        with pytest.raises(NotConnectedError, match=r"^TLS: wrong version number$"):
            await ask(connections, Endpoint("127.0.0.1", endpoint.port, tls=True))


async def test_the_log_names_the_variable_where_a_certificate_is_not_trusted(
    authority: Authority,
) -> None:
    tls = authority.server("127.0.0.1")
    async with serving(HELLO, tls=tls) as (_, endpoint):
        s3 = s3_origin(Bucket(f"https://127.0.0.1:{endpoint.port}"), retries=0)
        with pytest.raises(OriginError, match=r"certificate verify failed.*S3_ENDPOINT") as caught:
            await s3.get("a")
        assert (caught.value.client_status, caught.value.variable) == (502, "S3_ENDPOINT")
        await s3.aclose()


@pytest.mark.usefixtures("_trusted")
async def test_an_object_over_tls(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with serving(HELLO, tls=tls) as (_, endpoint):
        s3 = s3_origin(Bucket(f"https://127.0.0.1:{endpoint.port}"))
        answer = await s3.get("a")
        assert isinstance(answer, OriginAnswer)
        assert [piece async for piece in answer.chunks()] == [b"hello"]
        answer.close()
        await s3.aclose()


@pytest.mark.usefixtures("_trusted")
async def test_an_origin_is_read_no_further_than_the_reader_keeps_up(authority: Authority) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE_BYTES)
        for _ in range(HUGE_BYTES // 65536):
            writer.write(bytes(65536))
            await writer.drain()
        await reader.read()

    peer = Peer(talk)
    async with talking(peer, authority.server("127.0.0.1")) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        await asyncio.sleep(0.3)
        assert response.buffered < 2 * 1024 * 1024
        assert len(await body_of(response)) == HUGE_BYTES
        assert connections.idle == 1


@pytest.mark.usefixtures("_trusted")
async def test_a_body_that_ends_with_close_notify_is_whole(authority: Authority) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nhello"
    tls = authority.server("127.0.0.1")
    async with serving(answer, close=True, tls=tls) as (_, endpoint), pool() as connections:
        assert await body_of(await ask(connections, endpoint)) == b"hello"


@pytest.mark.usefixtures("_trusted")
async def test_a_body_that_ends_with_the_connection_alone_is_not(authority: Authority) -> None:
    """Anybody on the way may send a FIN: RFC 9112 §9.8."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await go.wait()
        number = writer.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(number)) as beneath_tls:
            beneath_tls.shutdown(socket.SHUT_WR)
        await reader.read()

    go = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer, authority.server("127.0.0.1")) as endpoint, pool() as connections:
        response = await ask(connections, endpoint)
        assert await response.read() == b"hello"
        go.set()
        with pytest.raises(DisconnectedError):
            await response.read()
        response.close()


@pytest.mark.usefixtures("_trusted")
async def test_an_idle_connection_that_ends_is_forgotten(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with serving(HELLO, tls=tls, close=True) as (peer, endpoint), pool() as connections:
        await ask(connections, endpoint)
        await until(lambda: connections.open == 0)
        await ask(connections, endpoint, trip := Trip())
        assert (peer.accepted, trip.reused) == (2, False)


async def test_a_handshake_given_up_leaves_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.set()
        await reader.read()

    hello = asyncio.Event()
    peer = Peer(talk)
    async with talking(peer) as endpoint, pool() as connections:
        silent = Endpoint("127.0.0.1", endpoint.port, tls=True)
        waiting = asyncio.create_task(ask(connections, silent))
        await hello.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: peer.open == 0)
        assert connections.open == 0
