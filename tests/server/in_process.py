"""A connection of the fast protocol in this process, where the socket is not the point."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.server import ServerState

from proxy.server.fast_protocol import FastProtocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from proxy.server.front import Front


class Sent(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 4), "sockname": ("127.0.0.1", 80)})
        self.packets: list[bytes] = []

    def write(self, data: Any) -> None:
        self.packets.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Is never asked."""


def connected(front: Front | None, asked: Any = application) -> tuple[FastProtocol, Sent]:
    """Without a front all is asked of the application."""
    protocol, transport = _protocols(front, asked)(), Sent()
    protocol.connection_made(transport)
    return protocol, transport


async def listening(front: Front, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """A server on loopback, for those to whom the socket is the point."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(_protocols(front, application), "127.0.0.1", 0, ssl=tls)


def _protocols(front: Front | None, asked: Any) -> Callable[[], FastProtocol]:
    loop = asyncio.get_running_loop()
    FastProtocol._fronts[loop] = front
    config = uvicorn.Config(
        asked, log_config=None, lifespan="off", access_log=False, proxy_headers=False
    )
    config.load()
    return lambda: FastProtocol(config, ServerState(), {}, loop)
