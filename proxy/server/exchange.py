"""Answers one request for an object that takes more than memory.

It stands in the connection where uvicorn's RequestResponseCycle stands otherwise. What Django would
do with the request the gateway does alone, so this has neither scope nor response: it awaits the
gateway's answer and writes it. It counts and logs what the middleware and the handler do.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from proxy import metrics
from proxy.access_log import log_request
from proxy.answer import Answer, Body, from_memory
from proxy.core.error_page import error_page
from proxy.core.messages import Head
from proxy.metrics import BYTES_SERVED
from proxy.origin.errors import OriginError
from proxy.request_id import next_id
from proxy.server.tcp import has_gone
from proxy.server.wire import LAST_CHUNK, chunk, streamed_head, whole_head, write

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

    from proxy.core.messages import Request
    from proxy.gateway import Gateway
    from proxy.request_counts import RequestCounts
    from proxy.store import Sighting

_logger = logging.getLogger("s3proxy.server")

_DEFECT = 500
# nginx's, for a client that closed its request: nobody gets it, but the access log shows it.
CLIENT_GONE = 499
_NO_ANSWER = Answer(Head(CLIENT_GONE, ()), None, b"")


class Connection(Protocol):
    """What an exchange takes place on."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl

    @property
    def scheme(self) -> str | None:
        """As in an URL."""

    def on_response_complete(self) -> None:
        """The answer is written: the next request may be answered."""

    def abort(self, cycle: Exchange) -> None:
        """See AnsweringProtocol.abort."""

    def stop_answering(self, cycle: Exchange) -> None:
        """See AnsweringProtocol.stop_answering."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and who it is from.

    ``sighting`` is what the gateway saw for it; ``path`` is percent-encoded; ``view`` is the name
    of the view that would answer it; ``began`` is by time.perf_counter.
    """

    request: Request
    sighting: Sighting | None
    path: bytes
    view: str
    client: str
    began: float


class _Sent(NamedTuple):
    """What became of an answer: bytes of its body written, and whether that was all."""

    body_bytes: int
    complete: bool


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_counts",
        "_gateway",
        "_has_begun",
        "_task",
        "disconnected",
        "keep_alive",
        "response_complete",
        "response_started",
    )

    # uvicorn announces bodies and departures by it; nobody waits for it here.
    message_event = asyncio.Event()

    def __init__(self, gateway: Gateway, counts: RequestCounts, *, keep_alive: bool) -> None:
        self._gateway = gateway
        self._counts = counts
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    def start(self, connection: Connection, asked: Asked) -> asyncio.Task[None]:
        """Answer a request in a task of its own."""
        # Not kept here what the connection keeps this for: no cycles, no bodies kept alive.
        self._task = connection.loop.create_task(self._run(connection, asked))
        return self._task

    def leave(self) -> None:
        """The client has gone: give up, so that nobody waits in line for the origin for it."""
        # Cancelled before its first step a task would not run at all, and log nothing.
        if self._task is not None and self._has_begun:
            self._task.cancel()

    async def _run(self, connection: Connection, asked: Asked) -> None:
        self._has_begun = True
        try:
            answer = await self._answer(connection, asked)
        except asyncio.CancelledError:
            if not self.disconnected:
                connection.stop_answering(self)
                return
            answer = _NO_ANSWER
        except Exception:
            _logger.exception("a request ended in a defect of the proxy")
            answer = _defect(asked.request)
        else:
            # A body of pieces finds out by itself.
            if isinstance(answer.body, bytes) and has_gone(connection.transport):
                self.disconnected = True
                answer = _NO_ANSWER
        self._count(connection, asked, answer)
        request_id = next_id()
        sent = _Sent(0, complete=False)
        try:
            if isinstance(answer.body, bytes):
                sent = self._send_whole(connection, asked, answer.head, answer.body, request_id)
            else:
                sent = await self._stream(connection, answer.head, answer.body, request_id)
        finally:
            self._task = None
            answer.close()
            log_request(
                method=asked.request.method,
                path=asked.path.decode("ascii"),
                status=answer.head.status,
                sent_bytes=sent.body_bytes,
                seconds=perf_counter() - asked.began,
                client=asked.client,
                handling=answer.handling,
                request_id=request_id.decode("ascii"),
                complete=sent.complete,
            )

    async def _answer(self, connection: Connection, asked: Asked) -> Answer:
        """The gateway's; raises CancelledError where the client has gone."""
        if self.disconnected:
            raise asyncio.CancelledError
        if connection.flow.write_paused:
            # The client has yet to take what was written before.
            await connection.flow.drain()
        return await self._gateway.answer(asked.request, asked.sighting)

    def _count(self, connection: Connection, asked: Asked, answer: Answer) -> None:
        # First: who has the answer may ask another worker for the counts at once.
        self._counts.count(
            asked.view,
            connection.scheme,
            asked.request.method,
            answer.head.status,
            streaming=isinstance(answer.body, Body),
            seconds=perf_counter() - asked.began,
        )

    def _send_whole(
        self, connection: Connection, asked: Asked, head: Head, body: bytes, request_id: bytes
    ) -> _Sent:
        metrics.tally.row[BYTES_SERVED] += len(body)
        if not self.disconnected:
            method = asked.request.method
            lines = whole_head(head, method, body, request_id, keep_alive=self.keep_alive)
            self.response_started = True
            write(connection.transport, lines, body)
            self._complete(connection)
        return _Sent(len(body), complete=True)

    async def _stream(
        self, connection: Connection, head: Head, body: Body, request_id: bytes
    ) -> _Sent:
        """Send a body as it comes, no faster than the client takes it."""
        transport, flow = connection.transport, connection.flow
        lines, length = streamed_head(head, request_id, keep_alive=self.keep_alive)
        self.response_started = True
        transport.write(lines)
        sent, complete = 0, False
        try:
            async for piece in body:
                if flow.write_paused:
                    await flow.drain()
                if length is not None and sent + len(piece) > length:
                    # More would pass for the beginning of the next answer.
                    break
                _write_piece(transport, piece, chunked=length is None)
                sent += len(piece)
            else:
                complete = length is None or sent == length
            if not complete:
                _logger.error("a body has not the %s bytes that were announced", length)
        except asyncio.CancelledError:
            if self.disconnected:
                metrics.client_disconnects.inc()
            else:
                connection.stop_answering(self)
            return _Sent(sent, complete=False)
        except OriginError:
            # In the log already. A body that looked complete would be a lie.
            pass
        except Exception:
            _logger.exception("a body ended in a defect of the proxy")
        finally:
            metrics.tally.row[BYTES_SERVED] += sent
        if complete:
            if length is None:
                transport.write(LAST_CHUNK)
            self._complete(connection)
        else:
            connection.abort(self)
        return _Sent(sent, complete=complete)

    def _complete(self, connection: Connection) -> None:
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


def _write_piece(transport: asyncio.Transport, piece: bytes, *, chunked: bool) -> None:
    if not chunked:
        transport.write(piece)
    elif piece:
        transport.writelines(chunk(piece))


def _defect(request: Request) -> Answer:
    head = error_page(_DEFECT, request.method, request.accept)
    return Answer(head, None, bytes(from_memory(head.segments, b"")))
