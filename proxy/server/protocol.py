"""HTTP/1.1 on a socket: uvicorn's httptools protocol with strict framing, limits, deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy import conf
from proxy.access_log import log_request
from proxy.core.error_page import error_page
from proxy.server.handler import ABORT_EXTENSION
from proxy.server.progress import bytes_taken

if TYPE_CHECKING:
    import asyncio

    from uvicorn.server import ServerState

MAX_HEAD_BYTES = 32 * 1024
# Between the parts of a request head: ": " and CRLF of a field; " HTTP/1.1" and the like.
_FIELD_OVERHEAD = 4
_LINE_OVERHEAD = 16

_BAD_REQUEST, _REQUEST_TIMEOUT, _HEAD_TOO_LARGE = 400, 408, 431


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a client may take: to send a head, and without taking any bytes."""

    read: float
    write: float

    @property
    def interval(self) -> float:
        """How often to look, so that a deadline is kept to within half a second."""
        return max(0.02, min(0.25, self.read / 4, self.write / 4))


class RefusedError(Exception):
    """The request head is not one to answer but with ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Sweeper:
    """Looks after the deadlines of every connection of one server.

    One timer for all: none is set or cancelled on the way of a request.
    """

    _sweepers: ClassVar[WeakKeyDictionary[ServerState, Sweeper]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.connections: set[HttpProtocol] = set()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, state: ServerState, loop: asyncio.AbstractEventLoop) -> Sweeper:
        """The sweeper of a server."""
        sweeper = cls._sweepers.get(state)
        if sweeper is None:
            config = conf.config()
            sweeper = cls(loop, Deadlines(config.read_timeout, config.write_timeout))
            cls._sweepers[state] = sweeper
        return sweeper

    def add(self, connection: HttpProtocol) -> None:
        """Look after a connection from now on."""
        self.connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self.deadlines.interval, self._sweep)

    def discard(self, connection: HttpProtocol) -> None:
        """The connection is gone."""
        self.connections.discard(connection)

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self.connections):
            connection.check_deadlines(now, self.deadlines)
        if self.connections:
            self._timer = self._loop.call_later(self.deadlines.interval, self._sweep)


class HttpProtocol(HttpToolsProtocol):
    """One connection. ``uvicorn --http proxy.server.protocol:HttpProtocol`` works as well."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._sweeper = Sweeper.of(self.server_state, self.loop)
        self._sweeper.add(self)
        self._running: RequestResponseCycle | None = None
        # When the head that is now being read began; None between requests and in bodies.
        self._head_began: float | None = self.loop.time()
        self._head_bytes = 0
        self._refused: int | None = None
        self._taken = 0
        self._taken_at: float | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._sweeper.discard(self)
        # uvicorn tells only the newest of several pipelined requests.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return
        began = self._head_began
        super().data_received(data)
        if self._closing:
            return
        if self._head_began is None and self._idle and self.timeout_keep_alive_task is None:
            # Line ends between requests: not a head yet, but no longer idle either.
            self._head_began = self.loop.time()
        if self._head_began is not None and self._head_began == began:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_began is None:
            self._head_began = self.loop.time()
            self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_began = None
        self._check_head()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # No protocol to upgrade to, and the parser takes nothing more from here on.
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refused is not None and not self.pipeline:
            self._send_refusal(self._refused)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """The parser, or a callback of ours, refused the head."""
        error = getattr(self, "_head_error", None)
        self.refuse(error.status if isinstance(error, RefusedError) else _BAD_REQUEST)

    def refuse(self, status: int) -> None:
        """Answer with an error once the requests before it are answered, then close."""
        self._refused = status
        self.flow.pause_reading()
        if self._idle:
            self._send_refusal(status)

    def check_deadlines(self, now: float, deadlines: Deadlines) -> None:
        """Close the connection if it has overrun one; ``now`` is the loop's time."""
        if self.transport.get_write_buffer_size() > 0:
            taken = bytes_taken(self.transport)
            if self._taken_at is None or taken != self._taken:
                self._taken, self._taken_at = taken, now
            elif now - self._taken_at >= deadlines.write:
                self.transport.abort()
            return
        self._taken_at = None
        began = self._head_began
        if began is not None and self._idle and now - began >= deadlines.read:
            if self._head_bytes:
                self.refuse(_REQUEST_TIMEOUT)
            else:
                # Nothing was asked, so nothing is answered.
                self.transport.close()

    @property
    def _closing(self) -> bool:
        """Is nothing more to be read?"""
        return self._refused is not None or self.transport.is_closing()

    @property
    def _idle(self) -> bool:
        """Is no request being answered?"""
        running = self._running
        return running is None or running.response_complete

    def _check_head(self) -> None:
        """RFC 9112 §3.2, §6.1, §6.3: what the parser lets pass though it is ambiguous."""
        size = len(self.url) + _LINE_OVERHEAD
        hosts = lengths = codings = 0
        for name, value in self.headers:
            size += len(name) + len(value) + _FIELD_OVERHEAD
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                codings += 1
        if size > MAX_HEAD_BYTES:
            self._refuse_head(_HEAD_TOO_LARGE)
        needed = 1 if self.parser.get_http_version() == "1.1" else 0
        if not needed <= hosts <= 1 or lengths > 1 or (lengths and codings) or codings > 1:
            self._refuse_head(_BAD_REQUEST)

    def _refuse_head(self, status: int) -> None:
        # The parser replaces an exception of its callbacks by one of its own.
        self._head_error = RefusedError(status)
        raise self._head_error

    def _send_refusal(self, status: int) -> None:
        if self.transport.is_closing():
            return
        date = (b"date", formatdate(usegmt=True).encode("ascii"))
        head = error_page(status, "GET", "", (date, (b"connection", b"close")))
        body = b"".join(part for part in head.segments if isinstance(part, bytes))
        lines = b"".join(b"%b: %b\r\n" % field for field in head.fields)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _PHRASES[status], lines, body)
        )
        self.transport.close()
        log_request(
            method=None,
            path=None,
            status=status,
            sent_bytes=len(body),
            seconds=0.0,
            client=self.client[0] if self.client else "-",
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        extensions: dict[str, Any] = cycle.scope.setdefault("extensions", {})
        extensions[ABORT_EXTENSION] = {"abort": lambda: self._abort(cycle)}
        super()._start_asgi_task(cycle, app)

    def _abort(self, cycle: RequestResponseCycle) -> None:
        # As if the client had gone: nothing more is sent, and nothing looks complete.
        cycle.disconnected = True
        self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """RFC 9110 §7.8: a server may ignore Upgrade, and this one always does."""


_PHRASES = {
    _BAD_REQUEST: b"Bad Request",
    _REQUEST_TIMEOUT: b"Request Timeout",
    _HEAD_TOO_LARGE: b"Request Header Fields Too Large",
}
