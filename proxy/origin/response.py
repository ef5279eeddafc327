"""A response as its reader has it: the head, with the body as it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.origin.faults import (
    ConnectionFaultError,
    DisconnectedError,
    MalformedResponseError,
    SilenceError,
)
from proxy.origin.message import ResponseMessage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Source(Protocol):
    """What a response comes from."""

    def abort(self) -> None:
        """End the connection at once."""

    def pause_reading(self) -> None:
        """Take no more from the origin for now."""

    def resume_reading(self) -> None:
        """Go on."""


class Response:
    """A response on its way. Must be closed.

    It lets go of its connection as soon as nothing more will come, which may be with the head.
    A body may be silent for ``timeout`` seconds while somebody waits for it.
    """

    __slots__ = (
        "_error",
        "_look",
        "_loop",
        "_message",
        "_on_received",
        "_paused",
        "_source",
        "_timeout",
        "_waiter",
        "_waits_since",
    )

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._source: Source | None = source
        self._loop = loop
        self._timeout = timeout
        self._message = ResponseMessage()
        self._error: ConnectionFaultError | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._waits_since = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._on_received: Callable[[], None] | None = None

    @property
    def status(self) -> int:
        """The status code."""
        return self._message.status

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Name, in lower case, and value of each field, in the order of arrival."""
        return self._message.fields

    @property
    def content_length(self) -> int | None:
        """What Content-Length announces, in bytes."""
        return self._message.content_length

    @property
    def buffered(self) -> int:
        """How many bytes of the body wait to be read."""
        return self._message.body.size

    @property
    def is_received(self) -> bool:
        """Will nothing more come, because all is here or the rest is lost?"""
        return self._source is None

    @property
    def is_reusable(self) -> bool:
        """Has it come whole, and may another follow on its connection?"""
        return self._message.reusable and self._message.complete

    def on_received(self, callback: Callable[[], None]) -> None:
        """Call this once nothing more will come, at once where that is so already."""
        if self._source is None:
            callback()
        else:
            self._on_received = callback

    async def head(self) -> None:
        """Wait for the head; raises ConnectionFaultError where there will be none."""
        if self._source is not None and not self._message.has_head:
            await self._wait()
        # What is known to be nonsense before the head was handed on is no answer.
        if not self._message.has_head or isinstance(self._error, MalformedResponseError):
            raise self._what_went_wrong()

    async def read(self) -> bytes:
        """The next piece of the body as it came; b"" at its end.

        Raises ConnectionFaultError where it breaks off, once all that came before is read.
        """
        body = self._message.body
        if not body.size and self._source is not None:
            await self._wait_for_more()
        piece = body.take()
        if not piece and not self._message.complete:
            raise self._what_went_wrong()
        if self._paused and body.has_room and self._source is not None:
            self._paused = False
            self._source.resume_reading()
        return piece

    def close(self) -> None:
        """Let go of the connection, which is of no more use unless all has come."""
        source = self._source
        if source is not None:
            self.fail(DisconnectedError("the response was given up"))
            source.abort()
        self._error = None
        self._message.drop()

    def feed(self, data: bytes) -> None:
        """Take what the connection has received."""
        message = self._message
        try:
            message.feed(data)
        except MalformedResponseError as error:
            self.fail(error)
            return
        if message.complete:
            self._let_go()
        elif message.body.is_full and not self._paused:
            assert self._source is not None
            self._paused = True
            self._source.pause_reading()
        if message.has_head:
            self._wake()

    def feed_eof(self) -> None:
        """The connection has ended, and well."""
        try:
            self._message.feed_eof()
        except ConnectionFaultError as error:
            self.fail(error)
            return
        self._let_go()
        self._wake()

    def fail(self, error: ConnectionFaultError) -> None:
        """Nothing more will come, for this reason."""
        if self._source is not None:
            self._error = error
            self._let_go()
            self._wake()

    def _what_went_wrong(self) -> ConnectionFaultError:
        # Not kept: its traceback refers back to this object.
        error, self._error = self._error, None
        return error or DisconnectedError("the response was given up")

    def _let_go(self) -> None:
        source, self._source = self._source, None
        if self._paused and source is not None:
            self._paused = False
            source.resume_reading()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        callback, self._on_received = self._on_received, None
        if callback is not None:
            callback()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _wait_for_more(self) -> None:
        # What is no body, such as a chunk's extension, does not count: it may come for ever.
        self._waits_since = self._loop.time()
        while self._source is not None and not self._message.body.size:
            # One timer a response, not one a piece: it looks when the wait under way began.
            if self._look is None:
                self._look = self._loop.call_later(self._timeout, self._look_for_silence)
            await self._wait()

    def _look_for_silence(self) -> None:
        self._look = None
        if self._waiter is None:
            # The next wait begins anew.
            return
        due = self._waits_since + self._timeout
        if self._loop.time() < due:
            self._look = self._loop.call_at(due, self._look_for_silence)
            return
        source = self._source
        self.fail(SilenceError(f"nothing for {self._timeout:g} s"))
        if source is not None:
            source.abort()
