"""Opens connections to an endpoint, over TCP or TLS."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from proxy.origin.addresses import Addresses, AddressInfo
from proxy.origin.faults import NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.origin.location import Endpoint

P = TypeVar("P", bound=asyncio.BaseProtocol)

# RFC 8305 §5: for how long an attempt runs alone.
_ATTEMPT_DELAY_SECONDS = 0.25


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Trusts whom the system trusts, or SSL_CERT_FILE and SSL_CERT_DIR say.

    Reading all of that takes tens of milliseconds.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Remembers the addresses of names."""

    def __init__(self) -> None:
        self._addresses = Addresses()

    def forget_addresses(self) -> None:
        """Resolve names anew for the next connection: the origin may have moved."""
        self._addresses.forget()

    def close(self) -> None:
        """Wait for no look-up any more."""
        self._addresses.close()

    async def dial(self, endpoint: Endpoint, factory: Callable[[], P]) -> P:
        """A protocol of the factory's on a new connection; raises NotConnectedError."""
        loop = asyncio.get_running_loop()
        try:
            found = await self._addresses.of(endpoint.host, endpoint.port)
            sock = await _first_connected(loop, found)
            _, protocol = await loop.create_connection(
                factory,
                sock=sock,
                ssl=tls_context() if endpoint.tls else None,
                server_hostname=endpoint.host if endpoint.tls else None,
            )
        except OSError as exc:
            raise NotConnectedError(exc) from exc
        return protocol


async def _first_connected(
    loop: asyncio.AbstractEventLoop, infos: list[AddressInfo]
) -> socket.socket:
    """A socket that is connected to one of the addresses; raises OSError for the first of them.

    Each is given a start over those behind it (RFC 8305 §5), which ends when it fails.
    """
    if len(infos) == 1:
        return await _connected(loop, infos[0])
    untried = list(reversed(infos))
    attempts: list[asyncio.Task[socket.socket]] = []
    running: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (untried or running):
            if untried:
                attempt = asyncio.create_task(_connected(loop, untried.pop()))
                attempts.append(attempt)
                running.add(attempt)
            done, running = await asyncio.wait(
                running,
                timeout=_ATTEMPT_DELAY_SECONDS if untried else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winner = next((task for task in done if task.exception() is None), None)
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_let_go)
    # All have failed where none has won: the first tells of the address that is preferred.
    return (winner or attempts[0]).result()


def _let_go(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connected(loop: asyncio.AbstractEventLoop, info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
