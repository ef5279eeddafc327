"""The protocol that answers from memory before the application is asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from proxy import access_log, conf, metrics
from proxy.client_address import client_address
from proxy.request_id import new_request_id
from proxy.server.fast_door import FastDoor
from proxy.server.protocol import HttpProtocol
from proxy.service import gateway

if TYPE_CHECKING:
    import asyncio

    from proxy.server.fast_door import Reply


# Up to here copying head and body into one buffer costs less than handing over two.
_JOINED_BYTES = 16 * 1024


class FastProtocol(HttpProtocol):
    """As HttpProtocol, with a door of its own for what memory can answer.

    Only for plain cases: one request at a time, HTTP/1.1 that stays open, no body, no limit on
    the rate, a client that takes what it is sent. Everything else goes the way of the rest.
    """

    _doors: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, FastDoor | None]] = (
        WeakKeyDictionary()
    )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._door = self._door_of_loop()
        self._answered = False

    def on_message_complete(self) -> None:
        if not self._answered:
            super().on_message_complete()
            return
        self._answered = False
        self._message_ended = True

    def _door_of_loop(self) -> FastDoor | None:
        if self.loop not in self._doors:
            config = conf.config()
            limited = bool(config.rate_limit_rps)
            self._doors[self.loop] = None if limited else FastDoor(gateway(), config.s3_prefix)
        return self._doors[self.loop]

    def _answer_at_once(self) -> bool:
        if (
            self._door is None
            or not self._idle
            or self.pipeline
            or self.flow.write_paused
            or self.expect_100_continue
            or self.parser.should_upgrade()
            or not self.parser.should_keep_alive()
            or self.parser.get_http_version() != "1.1"
        ):
            return False
        began = time.perf_counter()
        method = self.parser.get_method()
        found = self._door.answer(method, self.url, self._fields)
        if found is None:
            return False
        self._answered = True
        reply, body = found
        request_id = new_request_id()
        self._send(reply, body, request_id)
        if access_log.is_on():
            self._log(reply, method, len(body), request_id, time.perf_counter() - began)
        return True

    def _send(self, reply: Reply, body: bytes, request_id: str) -> None:
        head = b"%b%b\r\n\r\n" % (reply.head, request_id.encode("ascii"))
        if len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self._idle_since = self.loop.time()
        self.server_state.total_requests += 1
        tally = metrics.tally
        tally.hits += 1
        tally.bytes_served += len(body)

    def _log(
        self, reply: Reply, method: bytes, sent_bytes: int, request_id: str, seconds: float
    ) -> None:
        config = conf.config()
        forwarding = config.client_ip_header.encode("ascii")
        access_log.log_request(
            method=method.decode("ascii"),
            path=self.url.partition(b"?")[0].decode("ascii"),
            status=reply.status,
            sent_bytes=sent_bytes,
            seconds=seconds,
            client=client_address(
                self.client[0] if self.client else None,
                (value for name, value in self.headers if name == forwarding),
                config.trusted_proxies,
            ),
            handling=reply.handling,
            request_id=request_id,
        )
