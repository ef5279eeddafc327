"""HTTP/1.1 on a socket: uvicorn's httptools protocol with strict framing, limits, deadlines."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from httptools import HttpParserInvalidMethodError

from proxy.core.messages import READ_FIELDS
from proxy.server.answering import AnsweringProtocol
from proxy.server.deadlines import Deadlines, Sweeper, Taking
from proxy.server.framing import (
    BAD_REQUEST,
    FRAMING_FIELDS,
    HEAD_TOO_LARGE,
    MAX_HEAD_BYTES,
    NOT_IMPLEMENTED,
    Field,
    fault,
    head_bytes,
    is_request_line,
)
from proxy.server.intake import OneAheadFlow, Trailers
from proxy.server.refusal import NO_ANSWER, RefusedError
from proxy.server.tcp import has_gone, reset

if TYPE_CHECKING:
    import asyncio

# The only fields that have a say, in the framing or in the answer.
LOOKED_AT = FRAMING_FIELDS | READ_FIELDS
_NOTED = LOOKED_AT | {b"expect"}

_REQUEST_TIMEOUT = 408
# How much is parsed at once: a packet of many small requests must not become many waiting ones.
_PIECE_BYTES = 4096

# uvicorn warns of each malformed request, which the access line already tells.
_logger = logging.getLogger("s3proxy.server.protocol")
_logger.setLevel(logging.ERROR)


class HttpProtocol(AnsweringProtocol):
    """One connection. ``uvicorn --http proxy.server.protocol:HttpProtocol`` works as well."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.logger = _logger
        self._held = b""
        self.flow = OneAheadFlow(transport, self._has_waiting)
        self._sweeper = Sweeper.of(self.server_state, self.loop)
        self._sweeper.add(self)
        # When the head that is now being read began, or the rest of a body that nobody wants;
        # None between requests and while a request is answered.
        self._reading_since: float | None = self.loop.time()
        self._head_bytes = 0
        # What is being parsed, and how many requests have begun in it.
        self._piece, self._begun = b"", 0
        # The fields of the current head that anything here looks at.
        self._fields: list[Field] = []
        self._in_body = False
        self._message_ended = False
        self._taking = Taking()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sweeper.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= _PIECE_BYTES and not self._held:
            self._parse(data)
            return
        self._held += data
        self._parse_held()

    def _parse_held(self) -> None:
        """Parse what has come, as long as no request waits for those before it."""
        while self._held and not self.pipeline and not self.transport.is_closing():
            piece, self._held = self._held[:_PIECE_BYTES], self._held[_PIECE_BYTES:]
            self._parse(piece)
        if self._held:
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()

    def _has_waiting(self) -> bool:
        """Do requests, parsed or not, wait for those before them?"""
        return bool(self.pipeline or self._held)

    def _parse(self, data: bytes) -> None:
        if self._refused is not None:
            return
        self._message_ended = False
        self._idle_since = None
        self._piece, self._begun = data, 0
        super().data_received(data)
        # Nothing of it is kept alive by a connection that waits.
        self._piece = b""
        if self._closing:
            return
        if self._reading_since is None:
            if self._idle and self._idle_since is None:
                # The rest of a body, or line ends between requests: not a head yet, but no
                # longer idle either.
                self._reading_since = self.loop.time()
        elif not self._in_body and not self._message_ended:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(HEAD_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whoever has asked before is still answered."""
        if self._lingering_since is not None or (self._idle and not self.pipeline):
            return False
        if has_gone(self.transport):
            # A reset behind the request's bytes looks like an end to who reads them late.
            return False
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun += 1
        self._message_ended = False
        self._head_bytes = 0
        self._fields = []
        # One before it in the same packet may have been answered at once.
        self._idle_since = None
        if self._reading_since is None:
            self._reading_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        field = (name, value)
        self.headers.append(field)
        # Trailers have no say.
        if name in _NOTED and not self._in_body:
            if name != b"expect":
                self._fields.append(field)
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        self._reading_since = None
        status = self._fault()
        if status is not None:
            # The parser replaces an exception of its callbacks by one of its own.
            self._head_error = RefusedError(status)
            raise self._head_error
        if self.url == b"*":
            # OPTIONS asks it of the server as a whole, for which any path can answer.
            self.url = b"/"
        if self._answer_at_once():
            return
        super().on_headers_complete()
        self._in_body = True
        # The request has its fields; what the parser calls fields from here on are trailers.
        self.headers = Trailers()
        if self.parser.should_upgrade():
            # No protocol to upgrade to, and the parser takes nothing more from here on.
            self.cycle.keep_alive = False

    def _fault(self) -> int | None:
        method = self.parser.get_method()
        # A head that came in one small packet need not be measured.
        if (len(self._piece) > MAX_HEAD_BYTES or self._head_bytes) and head_bytes(
            method, self.url, self.headers
        ) > MAX_HEAD_BYTES:
            return HEAD_TOO_LARGE
        return fault(method, self.url, self.parser.get_http_version(), self._fields)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._message_ended = True
        if self._idle:
            # It was the rest of a body, after the answer.
            self._reading_since = None
            self._idle_since = self.loop.time()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held:
            # Not from here: the parser may be the caller.
            self.loop.call_soon(self._parse_held)

    def _answer_at_once(self) -> bool:
        """Is the request answered already, without the application? A subclass may."""
        return False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """The parser, or a callback of ours, refused what came."""
        if self._in_body:
            # Its request has an answer, or will have one; a second would pass for the next's.
            self.refuse(NO_ANSWER)
            return
        error = getattr(self, "_head_error", None)
        if isinstance(error, RefusedError):
            self.refuse(error.status)
        elif self._is_method_unknown():
            self.refuse(NOT_IMPLEMENTED)
        else:
            self.refuse(BAD_REQUEST)

    def _is_method_unknown(self) -> bool:
        """RFC 9110 §9.1: is a method that the parser has never heard of all that is wrong?

        To be asked while the parser's error is handled. Of a line that comes in several packets,
        or behind another request, that is not known.
        """
        return (
            isinstance(sys.exception(), HttpParserInvalidMethodError)
            and self._begun == 1
            and is_request_line(self._piece)
        )

    def check_deadlines(self, now: float, deadlines: Deadlines) -> None:
        """Close the connection if it has overrun one; ``now`` is the loop's time."""
        if self.transport.get_write_buffer_size() > 0:
            if self._taking.has_stalled(self.transport, now, deadlines.write):
                reset(self.transport)
            if self._idle_since is not None:
                self._idle_since = now
            return
        self._taking.nothing_waits()
        if self._lingering_since is not None:
            if now - self._lingering_since >= deadlines.read:
                self.transport.close()
        elif (
            self._reading_since is not None
            and self._idle
            and now - self._reading_since >= deadlines.read
        ):
            if self._head_bytes and not self._in_body:
                self.refuse(_REQUEST_TIMEOUT)
            else:
                # Nothing was asked, so nothing is answered.
                self.transport.close()
        elif self._idle_since is not None and now - self._idle_since >= deadlines.idle:
            self.transport.close()

    @property
    def awaits_request(self) -> bool:
        """Is a request to come, or still on its way in?"""
        return self._idle and not self.transport.is_closing() and self._lingering_since is None

    @property
    def was_answered(self) -> bool:
        """Has it been answered, and nothing come since?"""
        return self._idle_since is not None

    def _unsupported_upgrade_warning(self) -> None:
        """RFC 9110 §7.8: a server may ignore Upgrade, and this one always does."""
