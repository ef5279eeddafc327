"""One connection to the origin: an asyncio protocol for one exchange at a time (RFC 9112)."""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import TYPE_CHECKING, cast

from proxy.origin.faults import DisconnectedError, reason_of
from proxy.origin.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.origin.location import Endpoint

_CUT_OFF = "the connection was cut off"


class Connection(asyncio.Protocol):
    """Sends a request, hands on what comes back, and is idle in between.

    ``on_idle`` is called when a further request may be sent, ``on_lost`` when the connection has
    ended. ``timeout`` is how long a body may be silent, in seconds. ``idle_since`` is on the
    loop's clock.
    """

    __slots__ = (
        "_on_idle",
        "_on_lost",
        "_response",
        "_timeout",
        "_transport",
        "_unread",
        "endpoint",
        "idle_since",
        "loop",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: Endpoint,
        timeout: float,
        on_idle: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.endpoint = endpoint
        self._timeout = timeout
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        # Asks the kernel what the event loop has not come to yet.
        self._unread = select.poll()
        self.idle_since = 0.0

    @property
    def is_usable(self) -> bool:
        """May a request be sent?"""
        return (
            self._response is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def has_unread(self) -> bool:
        """Has something come while it was idle, if only its end? To be asked while it is usable.

        What the event loop has yet to read would pass for the answer to the next request: the body
        of a 304, say, or an answer too many.
        """
        return bool(self._unread.poll(0))

    async def get(self, head: bytes) -> Response:
        """Send a request, which is its head alone, and wait for the head of the response.

        Raises ConnectionFaultError. Given up meanwhile, the connection ends.
        """
        assert self._transport is not None
        response = self._response = Response(self, self.loop, self._timeout)
        self._transport.write(head)
        try:
            await response.head()
        except BaseException:
            response.close()
            raise
        return response

    def abort(self) -> None:
        """See Source.abort."""
        response, self._response = self._response, None
        if response is not None:
            response.fail(DisconnectedError("the connection was given up"))
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """See Source.pause_reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See Source.resume_reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            # An answer that nobody has asked for would be taken for the next one's: RFC 9112 §9.2.
            self.abort()
            return
        response.feed(data)
        if response.is_received:
            self._response = None
            if response.is_reusable:
                self.idle_since = self.loop.time()
                self._on_idle(self)
            else:
                self.abort()

    def eof_received(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            if self._was_said_goodbye():
                response.feed_eof()
            else:
                response.fail(DisconnectedError(_CUT_OFF))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        response, self._response = self._response, None
        if response is not None:
            response.fail(DisconnectedError(_CUT_OFF if exc is None else _told(exc)))
        self._on_lost(self)

    def _was_said_goodbye(self) -> bool:
        """Did the other end close the connection? Over TLS a FIN may be anybody's: §9.8."""
        assert self._transport is not None
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            # asyncio, unlike uvloop, tells of a FIN as of a close_notify.
            return not tls.read(1)
        except ssl.SSLError:
            return False


def _told(error: Exception) -> str:
    return reason_of(error) if isinstance(error, OSError) else type(error).__name__
