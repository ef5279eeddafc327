"""The protocol that answers requests for objects before the application is asked."""

from __future__ import annotations

from time import perf_counter, time
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from proxy import access_log, metrics
from proxy.metrics import BYTES_SERVED, HITS
from proxy.request_id import next_id
from proxy.server.exchange import CLIENT_GONE, Asked, Exchange
from proxy.server.fast_door import Unanswered
from proxy.server.front import Front
from proxy.server.page_pipe import Pages
from proxy.server.protocol import HttpProtocol
from proxy.server.reply import Reply
from proxy.server.tcp import descriptor_of, resets_of
from proxy.server.wire import JOINED_BYTES

if TYPE_CHECKING:
    import asyncio

    from proxy.access_log import AccessLines
    from proxy.clients import Client
    from proxy.server.answered import Answered
    from proxy.server.deadlines import Deadlines
    from proxy.server.fast_door import Body, Found, Lines
    from proxy.server.front import Service


class FastProtocol(HttpProtocol):
    """As HttpProtocol, with ways of its own for objects: from memory at once, else by an Exchange.

    Only for plain cases: one request at a time, HTTP/1.1, no body, a client that is not over its
    limit; from memory at once only if it takes what it is sent and the connection stays open.
    Everything else is the application's.
    """

    _fronts: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Front | None]] = (
        WeakKeyDictionary()
    )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # What uvicorn can be told besides, the application's way alone heeds.
        told_more = self.root_path or self.limit_concurrency is not None
        self._front = None if told_more else self._front_of_loop()
        self._tally = metrics.tally.row
        self._resets = resets_of(transport)
        self._descriptor = descriptor_of(transport)
        # Is there anything to be done about a hit but to send it?
        self._is_told = self._front is not None and (
            self._front.is_logged or self._front.claims is not None
        )
        # Does the connection wait for a request, with nothing of one come yet, and nothing else
        # under way? Then a packet can be all of the next request.
        self._at_rest = self._front is not None
        # The door's reply to the last request of the packet that is being parsed.
        self._reply: Answered | None = None
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
            if self._is_told:
                sent = self._tell(front, reply, body, lines, began)
            else:
                sent = self._send(front, reply, body, next_id())
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
        self._reply = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._at_rest = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self._at_rest = self._rests()

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
        front, parser = self._front, self.parser
        if (
            front is None
            or not self._idle
            or self.pipeline
            or self.expect_100_continue
            or parser.should_upgrade()
            or parser.get_http_version() != "1.1"
        ):
            return False
        began = perf_counter()
        method, target, read = parser.get_method(), self.url, self._fields
        found: Found | None
        if parser.should_keep_alive() and not self.flow.write_paused:
            found = front.door.answer(method, target, read, self.headers)
        else:
            request = front.door.request(method, target, self.headers)
            found = None if request is None else Unanswered(request, None)
        if found is None:
            return False
        if isinstance(found, Unanswered):
            return front.service is not None and self._exchange(front, front.service, found, began)
        reply, body = found
        if not self._is_told:
            sent = self._send(front, reply, body, next_id())
        else:
            sent = self._tell(front, reply, body, front.clients.lines(self.headers), began)
        if not sent:
            return False
        self._answered = True
        self._reply = reply
        self._idle_since = self.loop.time()
        return True

    def _exchange(
        self, front: Front, service: Service, unanswered: Unanswered, began: float
    ) -> bool:
        """Begin to answer what memory alone could not, unless that is the application's."""
        path, _, _ = self.url.partition(b"?")
        view = service.view_of(self.url, path)
        if view is None:
            return False
        lines = front.clients.lines(self.headers)
        client = front.clients.client(self.client[0] if self.client else None, lines)
        if front.claims is not None and not front.claims.take(client.key):
            return False
        exchange = Exchange(
            service.gateway, service.counts, keep_alive=self.parser.should_keep_alive()
        )
        # uvicorn knows it as it does its own.
        self.cycle = exchange  # type: ignore[assignment]
        self._running, self._on_departure = exchange, exchange.leave
        task = exchange.start(
            self, Asked(unanswered.request, unanswered.sighting, path, view, client.address, began)
        )
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self._answered = True
        return True

    def _tell(self, front: Front, reply: Answered, body: Body, lines: Lines, began: float) -> bool:
        """Send a reply and log it; false where the client is over its limit, or as _send()."""
        client = front.clients.client(self.client[0] if self.client else None, lines)
        if front.claims is not None and not front.claims.take(client.key):
            # The application counts and refuses it.
            return False
        request_id = next_id()
        if not front.is_logged:
            return self._send(front, reply, body, request_id)
        if self._resets(0):
            self._log_departure(reply, client, request_id, perf_counter() - began)
        elif self._send(front, reply, body, request_id):
            self._log(front.log, reply, len(body), client, request_id, perf_counter() - began)
        else:
            return False
        return True

    def _send(self, front: Front, reply: Answered, body: Body, request_id: bytes) -> bool:
        """Send a reply; false, and nothing is sent, where its body has gone this very moment."""
        if isinstance(body, Pages):
            return self._send_pages(front, reply, body, request_id)
        size = len(body)
        self._count(size)
        if size <= JOINED_BYTES:
            self.transport.write(b"".join((reply.head, request_id, b"\r\n\r\n", body)))
        else:
            self.transport.writelines((b"".join((reply.head, request_id, b"\r\n\r\n")), body))
        return True

    def _send_pages(self, front: Front, reply: Answered, pages: Pages, request_id: bytes) -> bool:
        assert isinstance(reply, Reply)
        pipe, descriptor = front.pipe, self._descriptor
        if (
            pipe is None
            or descriptor is None
            or pages.size > pipe.most
            # What is sent past the transport must not overtake what it has.
            or self.transport.get_write_buffer_size()
        ):
            contents = front.door.contents(reply)
            return contents is not None and self._send(front, reply, contents, request_id)
        if not pipe.fill(b"".join((reply.head, request_id, b"\r\n\r\n")), pages):
            return False
        self._count(pages.size)
        unsent = pipe.send(descriptor)
        if unsent:
            self.transport.write(front.door.rest(reply, unsent))
        return True

    def _count(self, size: int) -> None:
        """Count a hit, before it is sent: who has the answer may ask for the counts at once."""
        tally = self._tally
        tally[HITS] += 1
        tally[BYTES_SERVED] += size
        self.server_state.total_requests += 1

    def _log_departure(
        self, reply: Answered, client: Client, request_id: bytes, seconds: float
    ) -> None:
        access_log.log_request(
            method=reply.method,
            path=reply.path,
            status=CLIENT_GONE,
            sent_bytes=0,
            seconds=seconds,
            client=client.address,
            request_id=request_id.decode("ascii"),
        )

    def _log(
        self,
        log: AccessLines | None,
        reply: Answered,
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
