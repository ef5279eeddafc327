"""Drives a server with large answers, which it throws away unread.

wrk copies what it receives, 8 KiB at a time, and is slower with 1 MiB answers than the servers
are. Here the kernel drops the bytes of a body (MSG_TRUNC, see tcp(7)), so that the server is
what limits the rate.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.client import parse_head, request
from bench.errors import BenchError
from bench.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.processes import Process

_HEAD_BYTES = 4096
_BODY_BYTES = 4 << 20


@dataclass(slots=True)
class _Exchange:
    """A request on its way: ``left`` is what is still to come of the body, None before."""

    started: float
    left: int | None = None
    head: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Sink:
    """Asks for one thing again and again, on several connections."""

    target: str
    fields: Mapping[str, str]
    connections: int = 64

    def drive(self, port: int, server: Process, seconds: int) -> Measurement:
        """Send requests for a while, one at a time on each connection.

        Raises BenchError for anything but a 200, and where a connection breaks.
        """
        wire = request(self.target, self.fields)
        times: list[float] = []
        received = 0
        with selectors.DefaultSelector() as ready, ExitStack() as opened:
            for _ in range(self.connections):
                connection = socket.create_connection(("127.0.0.1", port), timeout=30)
                opened.enter_context(connection)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(connection, selectors.EVENT_READ, connection)
            cpu = server.cpu_seconds()
            started = time.perf_counter()
            exchanges = {}
            for key in ready.get_map().values():
                key.data.sendall(wire)
                exchanges[key.fd] = _Exchange(time.perf_counter())
            buffer = bytearray(_BODY_BYTES)
            now = started
            while now < started + seconds:
                events = ready.select(10)
                if not events:
                    raise BenchError("no byte came for 10 s")
                for key, _ in events:
                    exchange = exchanges[key.fd]
                    received += _receive(key.data, exchange, buffer)
                    if exchange.left == 0:
                        now = time.perf_counter()
                        times.append(now - exchange.started)
                        key.data.sendall(wire)
                        exchanges[key.fd] = _Exchange(now)
                now = time.perf_counter()
            elapsed = now - started
            cpu = server.cpu_seconds() - cpu
        if not times:
            raise BenchError("no answer was whole in time")
        return Measurement.of_times(
            times, seconds=elapsed, received=received, cpu_seconds=cpu, memory=server.memory()
        )


def _receive(connection: socket.socket, exchange: _Exchange, buffer: bytearray) -> int:
    """Take what is there; the number of bytes."""
    if exchange.left is not None:
        count = connection.recv_into(buffer, min(exchange.left, len(buffer)), socket.MSG_TRUNC)
        if not count:
            raise BenchError(f"closed {exchange.left} bytes before the end of a body")
        exchange.left -= count
        return count
    data = connection.recv(_HEAD_BYTES)
    if not data:
        raise BenchError("closed in the middle of a head")
    exchange.head += data
    head, end, body = bytes(exchange.head).partition(b"\r\n\r\n")
    if end:
        parsed = parse_head(head)
        if parsed.status != 200:
            raise BenchError(f"the answer is {parsed.status}, not 200")
        exchange.left = parsed.length - len(body)
    return len(data)
