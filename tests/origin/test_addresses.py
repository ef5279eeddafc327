"""What the origin's name resolves to, and which of several addresses is connected to."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from proxy.origin import addresses as module
from proxy.origin.addresses import Addresses
from proxy.origin.dialing import Dialer
from proxy.origin.faults import NotConnectedError
from proxy.origin.location import Endpoint
from tests.origin.peer import serving, until
from tests.origins.ports import free_ports, refusing_port, unaccepting

V4, V6, TCP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM


class Resolver:
    """Stands where the resolver of the operating system does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str | OSError) -> None:
        self.answers = answers
        self.asked = 0
        self.takes = 0.0
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: int, *_: Any, **__: Any) -> Any:
        self.asked += 1
        time.sleep(self.takes)
        infos = []
        for answer in self.answers:
            if isinstance(answer, OSError):
                raise answer
            family = V6 if ":" in answer else V4
            infos.append((family, TCP, 6, "", (answer, port, 0, 0)[: 4 if family == V6 else 2]))
        return infos


def hosts(infos: list[Any]) -> list[str]:
    return [info[4][0] for info in infos]


async def test_a_name_is_looked_up_once_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, "192.0.2.1")
    known = Addresses()
    for _ in range(3):
        assert hosts(await known.of("s3.test", 80)) == ["192.0.2.1"]
    assert resolver.asked == 1
    known.forget()
    await known.of("s3.test", 80)
    assert resolver.asked == 2


async def test_what_is_known_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_SECONDS", 0.05)
    resolver = Resolver(monkeypatch, "192.0.2.1")
    known = Addresses()
    await known.of("s3.test", 80)
    await asyncio.sleep(0.1)
    await known.of("s3.test", 80)
    assert resolver.asked == 2


async def test_one_look_up_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, "192.0.2.1")
    resolver.takes = 0.1
    known = Addresses()
    impatient = asyncio.create_task(known.of("s3.test", 80))
    others = [asyncio.create_task(known.of("s3.test", 80)) for _ in range(5)]
    await until(lambda: resolver.asked == 1)
    impatient.cancel()
    assert [hosts(found) for found in await asyncio.gather(*others)] == [["192.0.2.1"]] * 5
    assert resolver.asked == 1


async def test_a_failure_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "later"))
    known = Addresses()
    with pytest.raises(socket.gaierror):
        await known.of("s3.test", 80)
    resolver.answers = ("192.0.2.1",)
    assert hosts(await known.of("s3.test", 80)) == ["192.0.2.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_needs_no_look_up(host: str) -> None:
    known = Addresses()
    assert hosts(await known.of(host, 80)) == [host]
    assert not known._found


async def test_families_take_turns_and_so_do_the_addresses_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Resolver(monkeypatch, "2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    known = Addresses()
    first, second = [hosts(await known.of("s3.test", 80)) for _ in range(2)]
    assert first == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]
    assert second == ["2001:db8::2", "192.0.2.2", "2001:db8::1", "192.0.2.3", "192.0.2.1"]


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set()


def knowing(*ports: int) -> Dialer:
    """A dialer to whom "s3.test" has addresses that differ in their ports, for want of others."""
    dialer = Dialer()
    infos = [(V4, TCP, 6, "", ("127.0.0.1", port)) for port in ports]
    dialer._addresses._found["s3.test", 80] = (time.monotonic() + 60, infos)
    return dialer


NAMED = Endpoint("s3.test", 80, tls=False)


async def dialled(dialer: Dialer) -> int:
    """The port that was connected to."""
    client = await dialer.dial(NAMED, Client)
    assert client.transport is not None
    port: int = client.transport.get_extra_info("peername")[1]
    client.transport.abort()
    await asyncio.wait_for(client.lost.wait(), 5)
    return port


async def test_the_next_address_is_tried_at_once_where_one_refuses() -> None:
    with refusing_port() as dead:
        async with serving(b"") as (_, alive):
            began = time.monotonic()
            assert await dialled(knowing(dead, alive.port)) == alive.port
            assert time.monotonic() - began < 0.2


async def test_the_next_address_is_tried_beside_one_that_is_silent() -> None:
    (silent,) = free_ports(1)
    with unaccepting(silent):
        async with serving(b"") as (_, alive):
            began = time.monotonic()
            assert await dialled(knowing(silent, alive.port)) == alive.port
            assert 0.2 < time.monotonic() - began < 1.0


async def test_the_first_address_that_answers_is_the_only_one_connected_to() -> None:
    async with serving(b"") as (first, one), serving(b"") as (second, other):
        assert await dialled(knowing(one.port, other.port)) == one.port
        assert (first.accepted, second.accepted) == (1, 0)


async def test_where_no_address_answers_the_first_says_why() -> None:
    refused = pytest.raises(NotConnectedError, match=r"^Connection refused$")
    with refusing_port() as dead, refusing_port() as also_dead, refused:
        await knowing(dead, also_dead).dial(NAMED, Client)


async def test_an_attempt_given_up_ends_all_of_them() -> None:
    first, second = free_ports(2)
    with unaccepting(first), unaccepting(second):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await knowing(first, second).dial(NAMED, Client)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=0.3)
        assert all(task.done() for task in left)


async def test_a_name_that_is_none() -> None:
    with pytest.raises(NotConnectedError, match=r"^the name does not resolve$"):
        await Dialer().dial(Endpoint("a" * 64 + ".test", 80, tls=False), Client)
