"""The protocol that answers from memory before the application is asked."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from proxy import access_log, conf, metrics
from proxy.access_log import AccessLines
from proxy.claims import Claims
from proxy.clients import Clients
from proxy.metrics import BYTES_SERVED, HITS
from proxy.request_id import next_id
from proxy.server.fast_door import FastDoor
from proxy.server.protocol import HttpProtocol
from proxy.service import gateway

if TYPE_CHECKING:
    import asyncio

    from proxy.clients import Client
    from proxy.server.deadlines import Deadlines
    from proxy.server.fast_door import Lines
    from proxy.server.reply import Reply


# Up to here copying head and body into one buffer costs less than handing over two.
_JOINED_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Front:
    """What the connections of one event loop share."""

    door: FastDoor
    clients: Clients
    # None where there is no limit.
    claims: Claims | None
    is_logged: bool
    # None where nothing is logged, or not in the way that it knows.
    log: AccessLines | None

    @classmethod
    def as_configured(cls) -> Front | None:
        """None where hits have to be left to the application."""
        config = conf.config()
        if config.rate_limit_rps and config.redis_url is not None:
            # Counting over the network takes waiting.
            return None
        return cls(
            FastDoor(gateway(), config.s3_prefix),
            Clients(config),
            Claims(config.rate_limit_rps) if config.rate_limit_rps else None,
            access_log.is_on(),
            AccessLines.where_nothing_else_listens(),
        )


class FastProtocol(HttpProtocol):
    """As HttpProtocol, with a door of its own for what memory can answer.

    Only for plain cases: one request at a time, HTTP/1.1 that stays open, no body, a client that
    takes what it is sent and is not over its limit. Everything else goes the way of the rest.
    """

    _fronts: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Front | None]] = (
        WeakKeyDictionary()
    )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._front = self._front_of_loop()
        self._tally = metrics.tally.row
        # Is there anything to be done about a hit but to send it?
        self._is_told = self._front is not None and (
            self._front.is_logged or self._front.claims is not None
        )
        # Does the connection wait for a request, with nothing of one come yet, and nothing else
        # under way? Then a packet can be all of the next request.
        self._at_rest = self._front is not None
        # Of the packet that is being parsed: its requests, and the door's reply to the last.
        self._begun = 0
        self._reply: Reply | None = None
        self._answered = False
        # Did a packet that was not parsed come since the deadlines were last looked at?
        self._active = False

    def data_received(self, data: bytes) -> None:
        front = self._front
        if not self._at_rest or front is None:
            super().data_received(data)
            self._at_rest = self._rests()
            return
        began = perf_counter() if self._is_told else 0.0
        found = front.door.answer_head(data)
        if found is not None:
            reply, body, lines = found
            sent = True
            if self._is_told:
                sent = self._tell(front, reply, body, lines, began)
            else:
                self._send(reply, body, next_id())
            if sent:
                self._active, self._reading_since = True, None
                return
        self._begin_packet()
        super().data_received(data)
        self._at_rest = self._rests()
        if self._at_rest and self._begun == 1 and self._reply is not None:
            front.door.remember_head(bytes(data), self._reply, front.clients.lines(self.headers))

    def _begin_packet(self) -> None:
        self._active = self._at_rest = False
        self._begun, self._reply = 0, None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._at_rest = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self._at_rest = self._rests()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun += 1

    def on_message_complete(self) -> None:
        if not self._answered:
            super().on_message_complete()
            return
        self._answered = False
        self._message_ended = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._at_rest = self._rests()

    def check_deadlines(self, now: float, deadlines: Deadlines) -> None:
        if self._active:
            self._active = False
            self._idle_since = now
        super().check_deadlines(now, deadlines)

    def _rests(self) -> bool:
        return (
            self._front is not None
            and self._message_ended
            and self._reading_since is None
            and self._idle
            and not self._has_waiting()
            and not self.flow.write_paused
            and not self._closing
        )

    def _front_of_loop(self) -> Front | None:
        if self.loop not in self._fronts:
            self._fronts[self.loop] = Front.as_configured()
        return self._fronts[self.loop]

    def _answer_at_once(self) -> bool:
        front = self._front
        if (
            front is None
            or not self._idle
            or self.pipeline
            or self.flow.write_paused
            or self.expect_100_continue
            or self.parser.should_upgrade()
            or not self.parser.should_keep_alive()
            or self.parser.get_http_version() != "1.1"
        ):
            return False
        began = perf_counter()
        found = front.door.answer(self.parser.get_method(), self.url, self._fields)
        if found is None:
            return False
        reply, body = found
        if not self._is_told:
            self._send(reply, body, next_id())
        elif not self._tell(front, reply, body, front.clients.lines(self.headers), began):
            return False
        self._answered = True
        self._reply = reply
        self._idle_since = self.loop.time()
        return True

    def _tell(
        self, front: Front, reply: Reply, body: bytes | memoryview, lines: Lines, began: float
    ) -> bool:
        """Send a reply unless the client is over its limit, and log it; was it sent?"""
        client = front.clients.client(self.client[0] if self.client else None, lines)
        if front.claims is not None and not front.claims.take(client.key):
            # The application counts and refuses it.
            return False
        request_id = next_id()
        self._send(reply, body, request_id)
        if front.is_logged:
            self._log(front.log, reply, len(body), client, request_id, perf_counter() - began)
        return True

    def _send(self, reply: Reply, body: bytes | memoryview, request_id: bytes) -> None:
        size = len(body)
        # First: who has the answer may ask another worker for the counts at once.
        tally = self._tally
        tally[HITS] += 1
        tally[BYTES_SERVED] += size
        self.server_state.total_requests += 1
        if size <= _JOINED_BYTES:
            self.transport.write(b"".join((reply.head, request_id, b"\r\n\r\n", body)))
        else:
            self.transport.writelines((b"".join((reply.head, request_id, b"\r\n\r\n")), body))

    def _log(
        self,
        log: AccessLines | None,
        reply: Reply,
        sent_bytes: int,
        client: Client,
        request_id: bytes,
        seconds: float,
    ) -> None:
        if log is not None and client.logged is not None:
            pieces = reply.log_pieces
            if pieces is None:
                pieces = reply.log_pieces = log.pieces(
                    method=reply.method,
                    path=reply.path,
                    status=reply.status,
                    sent_bytes=sent_bytes,
                    handling=reply.handling,
                )
            log.log(pieces, time(), seconds, client.logged, request_id)
            return
        access_log.log_request(
            method=reply.method,
            path=reply.path,
            status=reply.status,
            sent_bytes=sent_bytes,
            seconds=seconds,
            client=client.address,
            handling=reply.handling,
            request_id=request_id.decode("ascii"),
        )
