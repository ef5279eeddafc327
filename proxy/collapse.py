"""One origin request for any number of simultaneous requests: collapsed forwarding."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING

from proxy.core.messages import Everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from proxy.core.messages import StoredResponse
    from proxy.core.ranges import ByteRange
    from proxy.origin.errors import OriginError

# How far the slowest reader of a body that is not kept may be behind.
WINDOW_BYTES = 2 * 1024 * 1024


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
        self._expects_readers = expects_readers
        self.kept = length is None or length <= keep_bytes
        self._chunks: list[bytes] = []
        self._offset = 0  # of the first chunk held
        self._received = 0
        self._error: OriginError | None = None
        self._done = False
        self._changed = asyncio.Event()
        self._readers: set[Reader] = set()

    @property
    def joinable(self) -> bool:
        """Can a reader still start at the first byte?"""
        return self._offset == 0 and self._error is None

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
        self.wake()

    def fail(self, error: OriginError) -> None:
        """The body will not come to its end."""
        self._error = error
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
                await self._changed.wait()
                continue
            start = reader.position - offset
            stop = len(chunk) if end is None else min(len(chunk), end - offset)
            reader.position = offset + stop
            if not self.kept:
                self.wake()
            yield chunk if stop - start == len(chunk) else chunk[start:stop]

    def leave(self, reader: Reader) -> None:
        """See Reader.close."""
        self._readers.discard(reader)
        self.wake()

    async def _make_room(self) -> bool:
        while True:
            self._drop_read()
            if not self._readers and not self._expects_readers():
                return False
            if self._received - self._offset <= WINDOW_BYTES:
                return True
            if any(reader.position == self._received for reader in self._readers):
                # Somebody waits for bytes while others dawdle: leave these behind.
                for reader in [*self._readers]:
                    if self._received - reader.position > WINDOW_BYTES:
                        reader.left_behind = True
                        self._readers.discard(reader)
                self.wake()
                continue
            await self._changed.wait()

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

    def wake(self) -> None:
        """Let everyone who waits look again."""
        # Who comes later waits for the next change.
        self._changed.set()
        self._changed.clear()


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


class Purged(enum.Enum):
    """What a purge did to a flight under way."""

    NO = enum.auto()
    SOFT = enum.auto()
    HARD = enum.auto()


class Settled:
    """The origin said all there is to say without a body to wait for.

    ``response`` is the freshened stored response (``validated``), or an absence.
    """

    def __init__(self, response: StoredResponse, *, validated: bool, stored: bool) -> None:
        self.response = response
        self.validated = validated
        self.stored = stored


class Arriving:
    """A new representation is coming in. ``stored``: it will be, if it gets whole."""

    def __init__(self, response: StoredResponse, arrival: Arrival, *, stored: bool) -> None:
        self.response = response
        self.arrival = arrival
        self.stored = stored


class Flight:
    """One origin request under way for a key.

    ``may_store`` is true once a request has joined that did not say no-store.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.may_store = False
        self.purged = Purged.NO
        self._outcome: asyncio.Future[Settled | Arriving] = (
            asyncio.get_running_loop().create_future()
        )
        # An error that nobody waits for is in the log already.
        self._outcome.add_done_callback(lambda outcome: outcome.exception())
        self._waiting = 0

    @property
    def expects_readers(self) -> bool:
        """Is there a request that has not yet taken what it came for?"""
        return self._waiting > 0

    def join(self, *, may_store: bool) -> None:
        """Wait along with the others; must be followed by leave()."""
        self._waiting += 1
        self.may_store |= may_store

    def leave(self) -> None:
        """Have taken what there was to take, or gone away."""
        self._waiting -= 1
        if self._outcome.done() and self._outcome.exception() is None:
            outcome = self._outcome.result()
            if isinstance(outcome, Arriving):
                outcome.arrival.wake()

    async def outcome(self) -> Settled | Arriving:
        """What came of it; raises OriginError.

        Shielded, so that a request that is cancelled takes nobody down with it.
        """
        return await asyncio.shield(self._outcome)

    def succeed(self, outcome: Settled | Arriving) -> None:
        """Tell everyone who waits."""
        self._outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Tell everyone who waits, if nothing better was told before."""
        if not self._outcome.done():
            self._outcome.set_exception(error)


class Flights:
    """The flights under way by key, at most one a key that a request may still join."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}
        self._all: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: str) -> Flight | None:
        """The flight that a request for ``key`` may join."""
        return self._by_key.get(key)

    def start(self, key: str) -> Flight:
        """A new flight, which takes the place of an unjoinable one."""
        flight = Flight(key)
        self._by_key[key] = flight
        self._all.add(flight)
        return flight

    def close_to_joiners(self, flight: Flight) -> None:
        """Nobody may join any more; the flight itself goes on."""
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]

    def end(self, flight: Flight) -> None:
        """The flight is over."""
        self.close_to_joiners(flight)
        self._all.discard(flight)

    def purge(self, matches: Callable[[str], bool], purged: Purged) -> None:
        """Keep matching flights from storing what they began to fetch before.

        Requests that come later start anew: they must not see what was purged.
        """
        for flight in self._all:
            if matches(flight.key):
                if purged is Purged.HARD or flight.purged is Purged.NO:
                    flight.purged = purged
                self.close_to_joiners(flight)
