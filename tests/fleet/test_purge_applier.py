"""Who carries a purge out that the stream brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.fleet import purge_applier
from proxy.fleet.purge_applier import PurgeApplier
from proxy.fleet.shared_position import SharedPosition
from proxy.fleet.stream_id import StreamId
from proxy.purge import Purge
from tests.fleet.replica import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PURGE = Purge(keys=frozenset({"k"}))
AT = StreamId(1, 0)


class Server:
    """A server with one worker that reads the stream."""

    def __init__(self) -> None:
        self.position = SharedPosition()
        self.applied: list[Purge] = []
        self.applier = PurgeApplier(lambda purge, _at: self.applied.append(purge), self.position)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.applier.aclose()


@pytest.mark.parametrize("sender", [b"", b"another-1"])
async def test_another_server_s_purge_is_carried_out_at_once(server: Server, sender: bytes) -> None:
    server.applier.take(PURGE, AT, sender)
    assert server.applied == [PURGE]


async def test_one_s_own_that_is_carried_out_already_is_not_again(server: Server) -> None:
    number = server.position.begin()
    server.position.finish(number)
    server.applier.take(PURGE, AT, server.position.name_of(number))
    assert server.applier.left_to_senders == 0
    assert server.applied == []


async def test_one_s_own_is_left_to_its_sender(server: Server) -> None:
    number = server.position.begin()
    server.applier.take(PURGE, AT, server.position.name_of(number))
    assert server.applier.left_to_senders == 1
    server.position.finish(number)
    await until(lambda: server.applier.left_to_senders == 0)
    assert server.applied == []


async def test_it_is_carried_out_where_the_sender_does_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_applier, "SENDER_SECONDS", 0.1)
    server.applier.take(PURGE, AT, server.position.name_of(server.position.begin()))
    await until(lambda: server.applied == [PURGE])


async def test_after_its_end_it_waits_for_no_sender(server: Server) -> None:
    server.applier.take(PURGE, AT, server.position.name_of(server.position.begin()))
    await server.applier.aclose()
    assert server.applier.left_to_senders == 0
    assert server.applied == []
