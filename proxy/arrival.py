"""A body on its way from the origin, read along by any number of readers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.core.messages import Everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from proxy.core.ranges import ByteRange
    from proxy.origin.errors import OriginError

# How far the slowest reader of a body that is not kept may be behind.
WINDOW_BYTES = 2 * 1024 * 1024


def _nobody() -> bool:
    return False


class LaggedBehindError(Exception):
    """This reader was left behind; ``position`` is the first byte that it did not get."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Arrival:
    """A representation on its way from the origin, read along by any number of readers.

    While ``keep_bytes`` are not exceeded everything is kept, readers may come at any time and
    ask for any part. Beyond, only a window is held: the origin is read no faster than the
    readers take it, and a reader so slow that others would wait for it is left behind.
    """

    def __init__(
        self, *, keep_bytes: int, length: int | None, expects_readers: Callable[[], bool]
    ) -> None:
        self._keep_bytes = keep_bytes
        self._length = length
        self._expects_readers = expects_readers
        self.kept = length is None or length <= keep_bytes
        self._chunks: list[bytes] = []
        self._offset = 0  # of the first chunk held
        self._received = 0
        self._error: OriginError | None = None
        self._done = False
        # Not an asyncio.Event, which asks for the running loop each time somebody waits.
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._readers: set[Reader] = set()

    @property
    def joinable(self) -> bool:
        """Can a reader still start at the first byte?

        Also where an error is all that follows: who came for these bytes learns of it, and does
        not ask the failing origin again, and again.
        """
        return self._offset == 0

    @property
    def body(self) -> bytes:
        """The whole body, once it is complete and kept."""
        assert self._done
        assert self._offset == 0
        return b"".join(self._chunks)

    def reader(self) -> Reader:
        """A reader at the first byte."""
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    async def add(self, chunk: bytes) -> bool:
        """Take a chunk from the origin; False when nobody wants any more of it."""
        self._chunks.append(chunk)
        self._received += len(chunk)
        if self.kept and self._received > self._keep_bytes:
            self.kept = False
        self.wake()
        if not self.kept:
            return await self._make_room()
        return True

    def finish(self) -> None:
        """The body is complete."""
        self._done = True
        self._let_go()
        self.wake()

    def fail(self, error: OriginError) -> None:
        """The body will not come to its end."""
        self._error = error
        self._let_go()
        self.wake()

    async def read(self, reader: Reader, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """See Reader.read."""
        reader.position, end = (
            (0, None)
            if isinstance(part, Everything)
            else (
                part.first,
                part.last + 1,
            )
        )
        index, offset = 0, self._offset
        while end is None or reader.position < end:
            if reader.left_behind:
                raise LaggedBehindError(reader.position)
            if not self.kept:
                # What every reader has taken was dropped in front.
                index, offset = 0, self._offset
            while index < len(self._chunks):
                chunk = self._chunks[index]
                if offset + len(chunk) > reader.position:
                    break
                offset += len(chunk)
                index += 1
            else:
                if self._error is not None:
                    raise self._error
                if self._done:
                    return
                await self._change()
                continue
            start = reader.position - offset
            stop = len(chunk) if end is None else min(len(chunk), end - offset)
            reader.position = offset + stop
            if not self.kept:
                self.wake()
            if reader.position == self._length:
                # With the last byte a body looks complete: not before it is known to be.
                await self._end()
            yield chunk if stop - start == len(chunk) else chunk[start:stop]

    async def _end(self) -> None:
        while not self._done:
            if self._error is not None:
                raise self._error
            await self._change()

    def leave(self, reader: Reader) -> None:
        """See Reader.close."""
        self._readers.discard(reader)
        self.wake()

    async def _make_room(self) -> bool:
        while True:
            self._drop_read()
            if not self._readers and not self._expects_readers():
                self._let_go()
                return False
            if self._received - self._offset <= WINDOW_BYTES:
                return True
            behind = {
                reader
                for reader in self._readers
                if self._received - reader.position > WINDOW_BYTES
            }
            if behind and any(reader.position == self._received for reader in self._readers):
                # Somebody waits for bytes while others dawdle: leave these behind.
                for reader in behind:
                    reader.left_behind = True
                self._readers -= behind
                self.wake()
            else:
                await self._change()

    def _let_go(self) -> None:
        # What tells of readers to come leads back here: a cycle, which would keep every body that
        # ever arrived until the garbage collector looks.
        self._expects_readers = _nobody

    def _drop_read(self) -> None:
        if self._expects_readers():
            return
        needed = min((reader.position for reader in self._readers), default=self._received)
        dropped = 0
        while dropped < len(self._chunks):
            length = len(self._chunks[dropped])
            if self._offset + length > needed:
                break
            self._offset += length
            dropped += 1
        del self._chunks[:dropped]

    async def _change(self) -> None:
        change = self._loop.create_future()
        self._waiting.append(change)
        await change

    def wake(self) -> None:
        """Let everyone who waits look again."""
        # Who comes later waits for the next change.
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)


class Reader:
    """One reader's place in an Arrival. Must be closed."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self.position = 0
        self.left_behind = False

    def read(self, part: ByteRange | Everything) -> AsyncIterator[bytes]:
        """The bytes of a part as they arrive.

        Raises OriginError where they will not come, LaggedBehindError.
        """
        return self._arrival.read(self, part)

    def close(self) -> None:
        """Stop reading; the arrival need not wait for this reader any more."""
        self._arrival.leave(self)
