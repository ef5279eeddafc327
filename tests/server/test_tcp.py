"""What is done to TCP past the event loop's transports."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from proxy.server.tcp import reset


class Losing(asyncio.Protocol):
    """Tells when its connection is lost."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_lost_already_can_be_reset(new_loop: object) -> None:
    async def lose() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Losing, sock=ours)
        # uvloop remembers it from the first look on.
        assert transport.get_extra_info("socket") is not None
        transport.abort()
        async with asyncio.timeout(5):
            await protocol.lost
        reset(transport)
        assert transport.is_closing()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
            runner.run(lose())
