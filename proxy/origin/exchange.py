"""What is asked of the origin, with what it answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from proxy import metrics
from proxy.core.http_date import format_http_date
from proxy.origin.errors import Failure, OriginError, TakenBackError
from proxy.origin.report import report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.core.ranges import ByteRange
    from proxy.core.storability import OriginHead
    from proxy.origin.admission import Place


# How often it is looked whether there is a connection still to wait for.
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask the origin for beyond the key.

    ``etag`` and ``last_modified`` (seconds since the epoch) make the request conditional;
    ``part`` asks for a slice of the representation with that entity tag and length (bytes).
    """

    etag: str | None = None
    last_modified: float | None = None
    part: ByteRange | None = None
    etag_of_whole: str | None = None
    length_of_whole: int | None = None

    @property
    def conditional(self) -> bool:
        """May the answer be a 304?"""
        return self.etag is not None or self.last_modified is not None

    def headers(self) -> dict[str, str]:
        """The request's header fields for it."""
        fields: dict[str, str] = {}
        if self.etag is not None:
            fields["If-None-Match"] = self.etag
        if self.last_modified is not None:
            fields["If-Modified-Since"] = format_http_date(self.last_modified)
        if self.part is not None:
            fields["Range"] = f"bytes={self.part.first}-{self.part.last}"
        # RFC 9110 §13.1.1: a weak entity tag never matches.
        if self.etag_of_whole is not None and not self.etag_of_whole.startswith("W/"):
            fields["If-Match"] = self.etag_of_whole
        return fields


WHOLE = Ask()


class _NonsenseError(aiohttp.ClientError):
    """The rest of a body makes no sense."""


@dataclass(frozen=True, slots=True)
class Absence:
    """There is no such object: ``status`` is what the client gets, 404 or 410."""

    head: OriginHead
    status: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Which bytes of a body are wanted: ``take`` after the first ``skip``; None: all of them.

    ``rest_follows`` says that the body goes on behind them.
    """

    skip: int = 0
    take: int | None = None
    rest_follows: bool = False


EVERYTHING = Cut()


class OriginAnswer:
    """A 200, 206 or 304 whose body is still to come. Whoever holds it must close it."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        head: OriginHead,
        key: str,
        place: Place,
        *,
        cut: Cut = EVERYTHING,
        begun: bytes = b"",
    ) -> None:
        self._response = response
        self._key = key
        self._place = place
        self._cut = cut
        self._begun = begun
        self._taken_back = False
        connection = response.connection
        self._protocol = None if connection is None else connection.protocol
        self._look: asyncio.TimerHandle | None = None
        self._waits = False
        self.head = head
        # What is received whole needs no place any more, however slowly it is read.
        response.content.on_eof(place.release)

    @property
    def _framed(self) -> bool:
        fields = self._response.headers
        return "Content-Length" in fields or "Transfer-Encoding" in fields

    @property
    def _is_plain(self) -> bool:
        """Is the body framed by its length alone?"""
        fields = self._response.headers
        return "Content-Length" in fields and "Transfer-Encoding" not in fields

    @property
    def is_received(self) -> bool:
        """Is all of the body here already?"""
        return self._response.connection is None

    @property
    def length(self) -> int | None:
        """The body's length in bytes as announced."""
        return self._response.content_length if self._cut.take is None else self._cut.take

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises OriginError where it breaks off, stalls or is not of the announced length;
        TakenBackError where the connection was needed while the reader took its time.
        """
        skip, left = self._cut.skip, self._cut.take
        try:
            if self._begun:
                yield self._begun
                self._begun = b""
            while received := await self._received():
                metrics.origin_bytes.inc(len(received))
                chunk = received[skip:] if skip else received
                skip -= len(received) - len(chunk)
                if left is not None:
                    chunk = self._within(chunk, left)
                    left -= len(chunk)
                if chunk:
                    self._place.wait_for_reader(self._take_back)
                    yield chunk
                    self._place.go_on()
                if left == 0 and (self._cut.rest_follows or self._taken_back):
                    return
                if self._taken_back:
                    raise TakenBackError
        except TimeoutError as exc:
            raise _broken("no more of the body in time", self._key, Failure.TIMEOUT) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise _broken(_how_it_ended(exc), self._key) from exc
        error = None if self._protocol is None else self._protocol.exception()
        if isinstance(error, HttpProcessingError):
            # More came than Content-Length said: which of the two is wrong cannot be told.
            raise _broken("the body is longer than Content-Length", self._key)
        if isinstance(error, OSError) and not self._framed:
            # RFC 9112 §8: a body that ends with the connection is whole only if that ended well.
            raise _broken(_how_it_ended(error), self._key)
        if left:
            raise _broken("the part is shorter than Content-Range says", self._key)

    async def _received(self) -> bytes:
        """What has come meanwhile; b"" at the body's end."""
        content = self._response.content
        if self._look is None and not self._response.closed:
            self._look_later()
        self._waits = True
        try:
            if self._is_plain:
                # In the pieces that it came in: joining them would copy them.
                return (await content.readchunk())[0]
            return await content.readany()
        finally:
            self._waits = False

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(_LOOK_SECONDS, self._look_after_connection)

    def _look_after_connection(self) -> None:
        """End a wait that nothing else would.

        aiohttp closes the connection when it cannot make sense of the rest of a body, and leaves
        whoever reads it waiting for ever.
        """
        content, protocol = self._response.content, self._protocol
        if (
            self._waits
            and not content.is_eof()
            and content.exception() is None
            and protocol is not None
            and protocol.exception() is not None
        ):
            content.set_exception(_NonsenseError())
        else:
            self._look_later()

    def _within(self, chunk: bytes, left: int) -> bytes:
        if len(chunk) > left and not self._cut.rest_follows:
            raise _broken("the part is longer than Content-Range says", self._key)
        return chunk[:left]

    def _take_back(self) -> None:
        if self._response.connection is not None:
            metrics.origin_taken_back.inc()
            self._taken_back = True
            self._response.close()

    def close(self) -> None:
        """Let go of the connection: back to the pool if the body was read, else closed."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._response.close()
        self._place.release()


def _how_it_ended(error: Exception) -> str:
    if isinstance(error, _NonsenseError):
        return "the body is not HTTP as it should be"
    return f"the body broke off ({type(error).__name__})"


def _broken(message: str, key: str, failure: Failure = Failure.BROKEN_BODY) -> OriginError:
    error = OriginError(failure, message)
    report(error, key)
    return error
