"""What is asked of the origin, with what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy import metrics
from proxy.core.http_date import format_http_date
from proxy.origin.errors import Failure, OriginError, TakenBackError
from proxy.origin.faults import ConnectionFaultError, MalformedResponseError, SilenceError
from proxy.origin.report import report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.core.ranges import ByteRange
    from proxy.core.storability import OriginHead
    from proxy.origin.admission import Place
    from proxy.origin.response import Response


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

    def field_lines(self) -> str:
        """The request's header fields for it."""
        lines = ""
        if self.etag is not None:
            lines += f"If-None-Match: {self.etag}\r\n"
        if self.last_modified is not None:
            lines += f"If-Modified-Since: {format_http_date(self.last_modified)}\r\n"
        if self.part is not None:
            lines += f"Range: bytes={self.part.first}-{self.part.last}\r\n"
        # RFC 9110 §13.1.1: a weak entity tag never matches.
        if self.etag_of_whole is not None and not self.etag_of_whole.startswith("W/"):
            lines += f"If-Match: {self.etag_of_whole}\r\n"
        return lines


WHOLE = Ask()


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
        response: Response,
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
        self.head = head
        # What is received whole needs no place any more, however slowly it is read.
        response.on_received(place.release)

    @property
    def is_received(self) -> bool:
        """Is all of the body here already?"""
        return self._response.is_received

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
            while received := await self._response.read():
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
        except SilenceError as exc:
            raise _broken("no more of the body in time", self._key, Failure.TIMEOUT) from exc
        except MalformedResponseError as exc:
            raise _broken(f"the body is not HTTP as it should be ({exc})", self._key) from exc
        except ConnectionFaultError as exc:
            raise _broken(f"the body broke off ({exc})", self._key) from exc
        if left:
            raise _broken("the part is shorter than Content-Range says", self._key)

    def _within(self, chunk: bytes, left: int) -> bytes:
        if len(chunk) > left and not self._cut.rest_follows:
            raise _broken("the part is longer than Content-Range says", self._key)
        return chunk[:left]

    def _take_back(self) -> None:
        if not self._response.is_received:
            metrics.origin_taken_back.inc()
            self._taken_back = True
            self._response.close()

    def close(self) -> None:
        """Let go of the connection: back to the pool if the body was read, else closed."""
        self._response.close()
        self._place.release()


def _broken(message: str, key: str, failure: Failure = Failure.BROKEN_BODY) -> OriginError:
    error = OriginError(failure, message)
    report(error, key)
    return error
