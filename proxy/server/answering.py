"""The half of a connection that answers: one request at a time, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.server.close_delimited import close_delimited
from proxy.server.refusal import NO_ANSWER, write_refusal
from proxy.server.sending import ABORT_EXTENSION, WHOLE_EXTENSION
from proxy.server.tcp import reset
from proxy.server.wire import checked_head, write
from proxy.views import DEPARTURE_EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.server.close_delimited import Application

_STOPPING = 503
# Of these no length is told, and nothing is sent.
_WITHOUT_LENGTH = frozenset({204, 304})


class Cycle(Protocol):
    """What answers one request, as uvicorn's protocol knows it."""

    message_event: asyncio.Event
    disconnected: bool
    keep_alive: bool
    response_started: bool
    response_complete: bool


class AnsweringProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with refusals that wait for their turn and ends that are told.

    What is read, and for how long, is a subclass's to say.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._running: Cycle | None = None
        # What is to be done when the client goes away before its answer.
        self._on_departure: Callable[[], None] | None = None
        # When the last answer was given, or taken where it is still in the buffers.
        self._idle_since: float | None = None
        self._refused: int | None = None
        self._lingering_since: float | None = None
        # What the application is offered beside ASGI: of the request that is being answered, not
        # of one by name, which would be kept alive by its own scope.
        self._offered: dict[Any, dict[Any, Any]] = {
            ABORT_EXTENSION: {"abort": self._abort_running},
            DEPARTURE_EXTENSION: {"notify": self._notify_of_departure},
        }
        self._offered_to_1_1 = {**self._offered, WHOLE_EXTENSION: {"send": self._send_whole}}

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells only the newest of several pipelined requests.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
            if self._on_departure is not None:
                self._on_departure()
        self.pipeline.clear()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        # As uvicorn's, but that it sets a timer: whoever keeps the deadlines does without.
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
        if self._idle:
            self._idle_since = self.loop.time()
        if self._refused is not None and self._idle:
            self._send_refusal(self._refused)

    def refuse(self, status: int) -> None:
        """Answer with an error once the requests before it are answered, then close."""
        self._refused = status
        if self._idle:
            self._send_refusal(status)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Application) -> None:
        self._running, self._on_departure = cycle, None
        offered = self._offered_to_1_1
        if cycle.scope["http_version"] == "1.0":
            app = close_delimited(cycle, app)
            offered = self._offered
        cycle.scope.setdefault("extensions", {}).update(offered)
        super()._start_asgi_task(cycle, self._until_stopped(cycle, app))

    def _until_stopped(self, cycle: RequestResponseCycle, app: Application) -> Application:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                # uvicorn would log a traceback for each, and make a 500 of it.
                self.stop_answering(cycle)

        return application

    def stop_answering(self, cycle: Cycle) -> None:
        """The server stops, and the time to finish what was running is over."""
        if cycle.response_started:
            self.abort(cycle)
        else:
            cycle.disconnected = True
            self._write_refusal(_STOPPING)
            self.transport.close()

    def _send_whole(self, status: int, fields: Mapping[bytes, bytes], body: bytes) -> bool:
        """Write an answer in one piece, as uvicorn would in two.

        False where there is more to it than that; uvicorn then does, or raises, what it takes.
        """
        cycle = self._running
        assert isinstance(cycle, RequestResponseCycle)
        if (
            cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.waiting_for_100_continue
            or cycle.access_log
            or cycle.default_headers
            or self.flow.write_paused
            or b"connection" in fields
            or b"transfer-encoding" in fields
            or not _has_length(cycle.scope["method"], status, fields, body)
        ):
            return False
        head = checked_head(status, fields)
        if head is None:
            return False
        cycle.response_started = cycle.response_complete = True
        write(self.transport, head, body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _abort_running(self) -> None:
        if self._running is not None:
            self.abort(self._running)

    def abort(self, cycle: Cycle) -> None:
        """Send nothing more, and let nothing look complete, as if the client had gone."""
        cycle.disconnected = True
        reset(self.transport)

    def _write_refusal(self, status: int) -> None:
        write_refusal(self.transport, status, self.client[0] if self.client else None)

    def _notify_of_departure(self, callback: Callable[[], None] | None) -> None:
        self._on_departure = callback

    @property
    def _closing(self) -> bool:
        """Is nothing more to be read?"""
        return self._refused is not None or self.transport.is_closing()

    @property
    def _idle(self) -> bool:
        """Is no request being answered?"""
        running = self._running
        return running is None or running.response_complete

    def _send_refusal(self, status: int) -> None:
        if self.transport.is_closing() or self._lingering_since is not None:
            return
        self._idle_since = None
        if status != NO_ANSWER:
            self._write_refusal(status)
        # RFC 9112 §9.6: closed with bytes unread, TCP would reset the connection, and the client
        # might never see the answer. So end our side, and read on for a while.
        self._lingering_since = self.loop.time()
        self.flow.resume_reading()
        self.transport.write_eof()


def _has_length(method: str, status: int, fields: Mapping[bytes, bytes], body: bytes) -> bool:
    """Is the body's length told, where it is to be, and right?"""
    told = fields.get(b"content-length")
    if method == "HEAD":
        return not body and (told is None or told.isdigit())
    if told is None:
        return not body and status in _WITHOUT_LENGTH
    return told == b"%d" % len(body)
