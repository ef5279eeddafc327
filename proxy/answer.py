"""What the gateway gives back: a head with the bytes that belong to it, at hand or to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.arrival import Arrival, LaggedBehindError, Reader
from proxy.core.messages import Everything, Head, Segment
from proxy.core.ranges import ByteRange
from proxy.origin.errors import (
    Failure,
    OriginError,
    PreconditionChangedError,
    TakenBackError,
)
from proxy.origin.exchange import Absence, Ask, OriginAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.core.cache_status import Handling
    from proxy.core.messages import StoredResponse
    from proxy.origin.s3 import S3Origin


# Parts of a stored body are copies; beyond this they are made piece by piece, as they are sent.
_PIECE_BYTES = 64 * 1024


class Answer:
    """An answer to a client: ``body`` is bytes, or a Body that must be closed."""

    __slots__ = ("body", "handling", "head")

    def __init__(self, head: Head, handling: Handling | None, body: bytes | Body) -> None:
        self.head = head
        self.handling = handling
        self.body = body

    def close(self) -> None:
        """Let go of whatever the body hangs on."""
        if isinstance(self.body, Body):
            self.body.close()


def from_memory(
    segments: tuple[Segment, ...], representation: bytes | memoryview
) -> bytes | memoryview:
    """The body that segments make of a representation held whole; the very object if whole."""
    if len(segments) == 1:
        return _slice(segments[0], representation)
    return b"".join(_slice(segment, representation) for segment in segments)


def _slice(segment: Segment, representation: bytes | memoryview) -> bytes | memoryview:
    if isinstance(segment, bytes):
        return segment
    if isinstance(segment, Everything) or segment.length == len(representation):
        return representation
    return bytes(representation[segment.first : segment.last + 1])


def is_copied_at_length(segments: tuple[Segment, ...], representation: bytes | memoryview) -> bool:
    """Would from_memory copy so much that slow clients could fill the memory with copies?"""
    if len(representation) <= _PIECE_BYTES and len(segments) <= 1:
        return False
    copied = sum(segment.length for segment in segments if isinstance(segment, ByteRange))
    whole = len(segments) == 1 and copied == len(representation)
    return not whole and copied > _PIECE_BYTES


class Source(Protocol):
    """Where a body's slices of the representation come from."""

    def read(self, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """The part's bytes; raises OriginError where they will not come."""

    def close(self) -> None:
        """Stop reading."""


class Body:
    """A body that comes in while it is sent, as an asynchronous iterable of chunks.

    Iterating raises OriginError where it will not come to its end: the client must then see
    the connection aborted.
    """

    def __init__(self, segments: tuple[Segment, ...], source: Source) -> None:
        self._segments = segments
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for segment in self._segments:
            if isinstance(segment, bytes):
                yield segment
            else:
                async for chunk in self._source.read(segment):
                    yield chunk

    def close(self) -> None:
        """Stop reading. An iteration that was abandoned need not have ended."""
        self._source.close()


class FromMemory:
    """Gives a representation held whole in pieces, each copied when it is its turn."""

    def __init__(self, representation: bytes | memoryview) -> None:
        self._representation = representation

    async def read(self, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """See Source.read."""
        assert isinstance(part, ByteRange)
        for first in range(part.first, part.last + 1, _PIECE_BYTES):
            yield bytes(self._representation[first : min(first + _PIECE_BYTES, part.last + 1)])

    def close(self) -> None:
        """See Source.close."""


class PartsFromOrigin:
    """Reads parts of one representation from the origin, each by a range request."""

    def __init__(self, origin: S3Origin, key: str, response: StoredResponse) -> None:
        self._origin = origin
        self._key = key
        self._response = response
        self._open: tuple[ByteRange, OriginAnswer] | None = None

    @property
    def fit_together(self) -> bool:
        """May several parts make one body? With a strong validator only (RFC 9110 §15.3.7.3)."""
        etag = self._response.etag
        return etag is not None and not etag.startswith("W/")

    async def open(self, part: ByteRange, *, goes_on: bool = False) -> None:
        """Ask for a part, so that an error can still become the answer's status.

        Raises OriginError; PreconditionChangedError where the object is another by now.
        """
        ask = Ask(
            part=part, etag_of_whole=self._response.etag, length_of_whole=self._response.length
        )
        answer = await self._origin.get(self._key, ask, goes_on=goes_on)
        if isinstance(answer, Absence):
            raise PreconditionChangedError
        self._open = (part, answer)

    async def read(self, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """See Source.read."""
        assert isinstance(part, ByteRange)
        while True:
            if self._open is None or self._open[0] is not part:
                try:
                    await self.open(part, goes_on=True)
                except PreconditionChangedError as exc:
                    raise _changed() from exc
            assert self._open is not None
            _, answer = self._open
            position = part.first
            try:
                async for chunk in answer.chunks():
                    position += len(chunk)
                    yield chunk
            except TakenBackError:
                if not self.fit_together:
                    raise
                self.close()
                part = ByteRange(position, part.last)
                continue
            self.close()
            return

    def close(self) -> None:
        """See Source.close."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


class Following:
    """Reads along with an arrival; left behind there, it goes on with the origin itself."""

    def __init__(self, arrival: Arrival, alone: PartsFromOrigin, length: int | None) -> None:
        self._reader: Reader = arrival.reader()
        self._alone = alone
        self._length = length

    async def read(self, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """See Source.read."""
        try:
            async for chunk in self._reader.read(part):
                yield chunk
        except (LaggedBehindError, TakenBackError) as lag:
            if self._length is None or not self._alone.fit_together:
                raise OriginError(
                    Failure.BROKEN_BODY, "too slow for a body that cannot be taken up again"
                ) from lag
            last = part.last if isinstance(part, ByteRange) else self._length - 1
            rest = ByteRange(self._reader.position, last)
        else:
            return
        async for chunk in self._alone.read(rest):
            yield chunk

    def close(self) -> None:
        """See Source.close."""
        self._reader.close()
        self._alone.close()


def _changed() -> OriginError:
    return OriginError(Failure.BROKEN_BODY, "the object was overwritten while it was sent")
