"""TCP behind an asyncio transport: bytes the peer acknowledged, resets from it, a reset to it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# struct tcp_info of linux/tcp.h: tcpi_bytes_acked, a 64-bit counter at this offset since 4.1.
_ACKED_OFFSET = 120
_ACKED_END = _ACKED_OFFSET + 8
_ACKED = struct.Struct("=Q")

_NO_LINGERING = struct.pack("ii", 1, 0)


def bytes_taken(transport: asyncio.Transport) -> int:
    """A number that changes as long as the peer takes what was written.

    The transport's own buffer is no measure of a slow reader: between it and the peer lie
    megabytes of kernel buffers, which empty for minutes before the next write succeeds. Linux
    tells the bytes acknowledged; elsewhere the transport's buffer has to do.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sys.platform == "linux" and sock.family != socket.AF_UNIX:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_END)
        except (OSError, ValueError):
            # Lost already; uvloop's has no descriptor then.
            return 0
        if len(info) == _ACKED_END:
            acked: int = _ACKED.unpack_from(info, _ACKED_OFFSET)[0]
            return acked
    return -transport.get_write_buffer_size()


def descriptor_of(transport: asyncio.Transport) -> int | None:
    """The descriptor of its socket, where what the socket is sent is what the transport is.

    None where something lies between the two, as TLS does.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return None
    descriptor: int = sock.fileno()
    return descriptor if descriptor >= 0 else None


def resets_of(transport: asyncio.Transport) -> Callable[[int], list[tuple[int, int]]]:
    """What, called with 0, is not empty once the peer has reset the connection.

    Nothing that is written reaches it then. An end that came in order is none of that: it may be
    the end of its own direction alone. To be called while the transport is open.
    """
    poll = select.poll()
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Errors and the end of both directions are told unasked.
        poll.register(sock.fileno(), 0)
    return poll.poll


def has_gone(transport: asyncio.Transport) -> bool:
    """Does nothing reach the peer any more, because it has reset the connection?"""
    return transport.is_closing() or bool(resets_of(transport)(0))


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that the peer knows that it has not got everything.

    ``abort`` alone sends what the kernel still has and then an orderly end, which an HTTP/1.0
    client takes for the end of the body; a peer that reads nothing would keep those megabytes.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        # uvloop's has no descriptor any more once the connection is lost, which is a ValueError.
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    transport.abort()
